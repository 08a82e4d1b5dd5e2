"""Every line that our code writes has an event and fields that may be seen, read from the code itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import cloud_api
from cloud_api.telemetry.redaction import FIELDS

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def lines_written() -> Iterator[tuple[str, ast.Call]]:
    root = Path(cloud_api.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in ("log", "logger")
            ):
                yield f"{path.relative_to(root)}:{node.lineno}", node


def test_every_line_has_fields_that_may_be_seen() -> None:
    wrong = [
        f"{place} {keyword.arg}"
        for place, call in lines_written()
        for keyword in call.keywords
        if keyword.arg not in {*FIELDS, "exc_info"}
    ]

    assert wrong == [], "name the field and its shape in cloud_api/telemetry/redaction.py"


def test_every_line_is_named_by_a_constant_event() -> None:
    wrong = [
        place
        for place, call in lines_written()
        if not (len(call.args) == 1 and isinstance(call.args[0], ast.Constant | ast.Name))
    ]

    assert wrong == []
