"""Everything is caught at the edges only, where an error becomes an answer; anywhere else it hides a defect.

A handler that ends by raising the same error again hides nothing: that is how a half-open file is closed. A reason given
to ruff's BLE001, `# noqa: BLE001 (reason)`, is a reason for this rule too.
"""

import ast
import re
from collections.abc import Iterator

from source import Finding, Source

EDGES = ("mcp_server/agent.py", "mcp_server/tools.py", "mcp_server/cli")
RULE = "broad-except"
_BROAD = {"Exception", "BaseException"}
_REASON_FOR_RUFF = re.compile(r"# noqa: BLE001 \(\S")


def broad_excepts(sources: list[Source]) -> Iterator[Finding]:
    for source in sources:
        if source.is_under(*EDGES):
            continue
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.ExceptHandler) or source.excuses(node.lineno, RULE):
                continue
            if _raises_again(node) or _REASON_FOR_RUFF.search(source.lines[node.lineno - 1]):
                continue
            if node.type is None or _names(node.type) & _BROAD:
                sentence = "Catch the error you can answer; only the edges catch everything."
                yield Finding(source.path, node.lineno, RULE, sentence)


def _names(caught: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(caught) if isinstance(node, ast.Name)}


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None
