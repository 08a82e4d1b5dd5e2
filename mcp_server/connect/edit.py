"""Changes one value inside a JSON text and nothing else: pure, text in, text out.

The file is never written anew from its parsed form. What is inserted takes the indentation, line ends and trailing
commas of its surroundings, and `remove_value` takes back what `set_value` inserted, to the byte.
"""

import json
import re
from typing import Any

from msgspec import Struct

from mcp_server.connect.jsonc import Child, Dialect, Node, malformed, parse

Place = tuple[str | int, ...]
"""The way from the root: names in objects, positions in lists (the position after the last appends)."""

_DEFAULT_INDENT = "  "
_OPENING = re.compile(r"[ \t]*")


class _Style(Struct, frozen=True):
    newline: str
    unit: str
    one_line: bool


def read(text: str, dialect: Dialect) -> dict[str, Any]:
    """The document as an object; an empty file is an empty object.

    Raises:
        MalformedError: not of this dialect, or not an object.
    """
    root = parse(text, dialect)
    if root is None:
        return {}
    if not isinstance(root.value, dict):
        raise malformed(text, root.start, "the file has to hold an object, { … }")
    return root.value


def set_value(text: str, place: Place, value: Any, dialect: Dialect) -> str:
    """The text with this value at this place; missing or null objects on the way are made.

    Where a name stands twice the last one is changed, because that is the one every client reads.

    Raises:
        MalformedError: the text is not of this dialect, or something on the way is no object or list.
    """
    root = parse(text, dialect)
    style = _style(text, root)
    if root is None:
        return _fresh_document(text, _nested(place, value), style)
    holder = root
    for depth, step in enumerate(place):
        _check_kind(text, holder, place[:depth], step)
        child = _find(holder, step)
        rest = place[depth + 1 :]
        if child is None:
            return _insert(text, holder, step, _nested(rest, value), style)
        if not rest or child.value.value is None:
            return _replace(text, child, _nested(rest, value), style)
        holder = child.value
    raise AssertionError("a place has at least one step")


def remove_value(text: str, place: Place, dialect: Dialect) -> str:
    """The text without what is at this place; a name that stands more than once goes each time."""
    while True:
        root = parse(text, dialect)
        found = None if root is None else _find_removable(root, place)
        if found is None:
            return text
        text = _delete(text, *found)
        if isinstance(place[-1], int):
            return text


def _find(holder: Node, step: str | int) -> Child | None:
    if isinstance(step, int):
        return holder.children[step] if step < len(holder.children) else None
    return next((child for child in reversed(holder.children) if child.key == step), None)


def _find_removable(root: Node, place: Place) -> tuple[Node, Child] | None:
    holder, child = root, None
    for step in place:
        holder = child.value if child else holder
        if not isinstance(holder.value, list if isinstance(step, int) else dict):
            return None
        child = _find(holder, step)
        if child is None:
            return None
    return (holder, child) if child else None


def _check_kind(text: str, holder: Node, way: Place, step: str | int) -> None:
    kind, article = (list, "a list") if isinstance(step, int) else (dict, "an object")
    if not isinstance(holder.value, kind):
        name = ".".join(str(part) for part in way) or "the file"
        raise malformed(text, holder.start, f"{name} has to be {article}")


def _nested(place: Place, value: Any) -> Any:
    for step in reversed(place):
        value = [value] if isinstance(step, int) else {step: value}
    return value


def _style(text: str, root: Node | None) -> _Style:
    indents = (_own_line_indent(text, child.start) for child in (root.children if root else ()))
    first_break = text.find("\n")
    return _Style(
        newline="\r\n" if first_break > 0 and text[first_break - 1] == "\r" else "\n",
        unit=next((indent for indent in indents if indent), _DEFAULT_INDENT),
        one_line=bool(root and root.children) and first_break < 0,
    )


def _own_line_indent(text: str, position: int) -> str | None:
    """The space before this position if nothing else stands before it on its line."""
    line_start = text.rfind("\n", 0, position) + 1
    lead = text[line_start:position]
    return lead if line_start and not lead.strip(" \t") else None


def _line_indent(text: str, position: int) -> str:
    match = _OPENING.match(text, text.rfind("\n", 0, position) + 1)
    assert match is not None
    return match[0]


def _render(value: Any, indent: str | None, style: _Style) -> str:
    if indent is None:
        return json.dumps(value, ensure_ascii=False)
    # A line break inside a string is escaped, so each one here is layout.
    pretty = json.dumps(value, ensure_ascii=False, indent=style.unit)
    return pretty.replace("\n", style.newline + indent)


def _label(step: str | int) -> str:
    return "" if isinstance(step, int) else f"{json.dumps(step, ensure_ascii=False)}: "


def _fresh_document(text: str, value: Any, style: _Style) -> str:
    head = text.rstrip()  # comments and a byte order mark stay; a BOM is not space to Python
    gap = style.newline if head.strip("\ufeff") else ""
    return head + gap + _render(value, "", style) + style.newline


def _replace(text: str, child: Child, value: Any, style: _Style) -> str:
    if child.value.value == value:
        return text
    rendered = _render(value, _own_line_indent(text, child.start), style)
    return text[: child.value.start] + rendered + text[child.value.end :]


def _insert(text: str, holder: Node, step: str | int, value: Any, style: _Style) -> str:
    if not holder.children:
        return _insert_first(text, holder, step, value, style)
    last = holder.children[-1]
    indent = _own_line_indent(text, last.start)
    if indent is None and holder.ends_in_line_comment:
        indent = _line_indent(text, last.start)
    lead = " " if indent is None else style.newline + indent
    piece = lead + _label(step) + _render(value, indent, style)
    if last.comma is not None:
        return text[: holder.inner_end] + piece + "," + text[holder.inner_end :]
    between = text[last.value.end : holder.inner_end]
    return text[: last.value.end] + "," + between + piece + text[holder.inner_end :]


def _insert_first(text: str, holder: Node, step: str | int, value: Any, style: _Style) -> str:
    if style.one_line:
        piece = _label(step) + _render(value, None, style)
    else:
        base = _line_indent(text, holder.start)
        indent = base + style.unit
        rendered = _render(value, indent, style)
        piece = style.newline + indent + _label(step) + rendered + style.newline + base
    return text[: holder.inner_end] + piece + text[holder.end - 1 :]


def _delete(text: str, holder: Node, child: Child) -> str:
    index = holder.children.index(child)
    start = child.before
    end = child.value.end if child.comma is None else child.comma + 1
    if child.after_line_comment and not text[end:].lstrip(" \t\r").startswith("\n"):
        # The comment before would swallow what follows: its line end has to stay.
        start = text.index("\n", start) + 1
    head, tail = text[:start], text[end:]
    if child.comma is None and index > 0:
        comma = holder.children[index - 1].comma
        assert comma is not None
        head = head[:comma] + head[comma + 1 :]
    inside = head[holder.start + 1 :] + tail[: holder.end - 1 - end]
    if not inside.strip():
        return head[: holder.start + 1] + tail[holder.end - 1 - end :]
    return head + tail
