"""One call of the product is one transaction: the vault and the edges commit, nobody in between can cut it in two."""

import ast
from collections.abc import Iterator

from source import Finding, Source

MAY_COMMIT = (
    "mcp_server/vault",
    "mcp_server/agent.py",
    "mcp_server/tools.py",
    "mcp_server/cli",
    "cloud_api/db.py",
    "cloud_api/migrating.py",
    "tests",
)
RULE = "commit"


def commits(sources: list[Source]) -> Iterator[Finding]:
    for source in sources:
        if source.is_under(*MAY_COMMIT):
            continue
        for node in ast.walk(source.tree):
            if (
                isinstance(node, ast.Call)
                and _commits(node)
                and not source.excuses(node.lineno, RULE)
            ):
                sentence = "Leave the commit to the vault or the edge that opened the transaction."
                yield Finding(source.path, node.lineno, RULE, sentence)


def _commits(call: ast.Call) -> bool:
    match call:
        case ast.Call(func=ast.Attribute(attr="commit")):
            return True
        case ast.Call(func=ast.Attribute(attr="execute"), args=[ast.Constant(value=str(sql)), *_]):
            return sql.strip().upper().startswith(("COMMIT", "END"))
        case _:
            return False
