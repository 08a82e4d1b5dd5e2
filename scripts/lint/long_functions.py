"""No function is longer than a screen: past that, nobody checks all of its paths."""

import ast
from collections.abc import Iterator

from source import Finding, Source

LINES_MAX = 70
RULE = "long-function"


def long_functions(sources: list[Source]) -> Iterator[Finding]:
    for source in sources:
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LINES_MAX and not source.excuses(node.lineno, RULE):
                sentence = f"{node.name} has {length} lines; {LINES_MAX} is the most: find the part that has a name."
                yield Finding(source.path, node.lineno, RULE, sentence)
