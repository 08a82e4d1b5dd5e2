"""A test that sleeps is slow on a fast machine and wrong on a slow one: wait for the event instead."""

import ast
from collections.abc import Iterator

from source import Finding, Source

RULE = "sleep"


def sleeps(sources: list[Source]) -> Iterator[Finding]:
    for source in sources:
        if not source.is_under("tests"):
            continue
        for node in ast.walk(source.tree):
            if (
                isinstance(node, ast.Call)
                and _called(node) == "sleep"
                and not source.excuses(node.lineno, RULE)
            ):
                sentence = (
                    "Wait for what the test needs (a line, a file, a process's end), with a limit."
                )
                yield Finding(source.path, node.lineno, RULE, sentence)


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""
