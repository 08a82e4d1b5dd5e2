"""Changes one table inside a TOML text and nothing else: pure, text in, text out.

Libraries that keep comments were tried: they move a root key into the new table when servers are written with dotted
names, and drop the comment above the next table when ours is taken out. So statements are located in the text, only
their own lines change, and every result is read back and compared before it leaves here.
"""

import copy
import json
import re
import tomllib
from typing import Any

from msgspec import Struct

from mcp_server.connect.jsonc import MalformedError, malformed

TablePath = tuple[str, ...]

_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*|\n|[\[{]|[\]}]"
    r"""|[^"'#\n\[\]{}]+""",
    re.DOTALL,
)
_KEY = re.compile(r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_\-.\s])+(?==)""")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WHERE = re.compile(r"\(at line (\d+), column (\d+)\)$")


class _Statement(Struct, frozen=True, kw_only=True):
    """A table header or a pair: its full path and its span, without space and comment around it."""

    path: TablePath
    table: TablePath
    start: int
    end: int
    value_start: int | None
    """Where a pair's value begins; None for a header."""


def read(text: str) -> dict[str, Any]:
    """The document.

    Raises:
        MalformedError: the text is not TOML.
    """
    bare = text.removeprefix("\ufeff")
    try:
        return tomllib.loads(bare)
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        if match := _WHERE.search(reason):
            line, column = int(match[1]), int(match[2])
        else:
            line, column = bare.count("\n") + 1, len(bare) - bare.rfind("\n")
        said = re.sub(r" \(at .*\)$", "", reason)
        raise MalformedError(said, line=line, column=column) from error


def set_value(text: str, path: TablePath, value: Any) -> str:
    """The text with this value under this path, in a table that exists already.

    Raises:
        MalformedError: not TOML, or no table is there to hold the pair.
    """
    expected = copy.deepcopy(read(text))
    if _get(expected, path) == value:
        return text
    _put(expected, path, value)
    return _checked(_set(text, path, value), expected)


def add_table(text: str, path: TablePath, pairs: dict[str, Any]) -> str:
    """The text with a new table of these pairs at its end.

    Raises:
        MalformedError: not TOML, or what holds the table is written as a value, which cannot be extended.
    """
    expected = copy.deepcopy(read(text))
    for depth in range(1, len(path)):
        if not isinstance(_get(expected, path[:depth]) or {}, dict):
            raise malformed(text, 0, f"{_dotted(path[:depth])} has to be a table")
    for statement in _statements(text):
        if statement.value_start is not None and statement.path == path[: len(statement.path)]:
            name = _dotted(statement.path)
            raise malformed(
                text, statement.start, f"write {name} as tables, [{name}.NAME], not as one value"
            )
    _put(expected, path, pairs)
    newline = _newline(text)
    bare = text.removeprefix("\ufeff")
    head = text if not bare or text.endswith("\n") else text + newline
    gap = newline if bare else ""
    lines = [f"[{_dotted(path)}]", *(f"{_quoted(key)} = {_render(pairs[key])}" for key in pairs)]
    return _checked(head + gap + newline.join(lines) + newline, expected)


def remove(text: str, path: TablePath) -> str:
    """The text without the table or value at this path. Comments on lines of their own stay."""
    expected = copy.deepcopy(read(text))
    if _get(expected, path) is None:
        return text
    _drop(expected, path)
    spans: list[tuple[int, int]] = []
    for statement in _statements(text):
        if statement.path[: len(path)] == path:
            spans.append(_line_span(text, statement))
        elif statement.value_start is not None and statement.path == path[: len(statement.path)]:
            kept = _get(expected, statement.path)
            return _checked(_with_value(text, statement, kept), expected)
    newline = _newline(text)
    first, last = spans[0][0], spans[-1][1]
    if text[:first].endswith(newline * 2) and (last == len(text) or text.startswith(newline, last)):
        spans[0] = (first - len(newline), spans[0][1])  # the blank line that `add_table` put there
    for start, end in reversed(spans):
        text = text[:start] + text[end:]
    return _checked(text, expected)


def _set(text: str, path: TablePath, value: Any) -> str:
    home: _Statement | None = None
    last_in: dict[TablePath, _Statement] = {}
    for statement in _statements(text):
        if statement.value_start is not None:
            if statement.path == path:
                return _with_value(text, statement, value)
            if statement.path == path[: len(statement.path)]:
                holder = copy.deepcopy(_get(read(text), statement.path))
                _put(holder, path[len(statement.path) :], value)
                return _with_value(text, statement, holder)
        last_in[statement.table] = statement
        is_home = statement.value_start is None and statement.path == path[: len(statement.path)]
        if is_home and (home is None or len(statement.path) > len(home.path)):
            home = statement
    if home is None:
        raise malformed(text, 0, f"write {_dotted(path[:-1])} as a table, [{_dotted(path[:-1])}]")
    after = _line_span(text, last_in[home.table])[1]
    newline = _newline(text)
    lead = "" if text[:after].endswith("\n") else newline
    line = f"{_dotted(path[len(home.path) :])} = {_render(value)}{newline}"
    return text[:after] + lead + line + text[after:]


def _statements(text: str) -> list[_Statement]:
    """Every statement of a text that is known to be TOML."""
    found: list[_Statement] = []
    table: TablePath = ()
    start, end, depth = -1, -1, 0
    for token in _TOKEN.finditer(text + "\n", 1 if text.startswith("\ufeff") else 0):
        piece = token[0]
        if piece == "\n":
            if start >= 0 and depth == 0:
                statement = _statement(text, start, end, table)
                table = statement.table
                found.append(statement)
                start = -1
        elif piece[0] != "#" and not piece.isspace():
            if start < 0:
                start = token.start() + len(piece) - len(piece.lstrip())
            end = token.end() - (len(piece) - len(piece.rstrip()))
            depth += (piece in "[{") - (piece in "]}")
    return found


def _statement(text: str, start: int, end: int, table: TablePath) -> _Statement:
    raw = text[start:end]
    if raw.startswith("["):
        path = _names(tomllib.loads(raw))
        return _Statement(path=path, table=path, start=start, end=end, value_start=None)
    key = _KEY.match(raw)
    assert key is not None, "tomllib has read this text"
    value_start = start + key.end() + 1
    while text[value_start] in " \t":
        value_start += 1
    path = table + _names(tomllib.loads(f"{key[0]}=[]"))
    return _Statement(path=path, table=table, start=start, end=end, value_start=value_start)


def _names(nested: dict[str, Any]) -> TablePath:
    names: list[str] = []
    level: Any = nested
    while isinstance(level, dict) and level:
        [(name, level)] = level.items()
        names.append(name)
    return tuple(names)


def _line_span(text: str, statement: _Statement) -> tuple[int, int]:
    first_line = 1 if text.startswith("\ufeff") else 0
    start = text.rfind("\n", 0, statement.start) + 1 or first_line
    return start, text.find("\n", statement.end) + 1 or len(text)


def _with_value(text: str, statement: _Statement, value: Any) -> str:
    return text[: statement.value_start] + _render(value) + text[statement.end :]


def _checked(text: str, expected: dict[str, Any]) -> str:
    try:
        same = _without_empty(read(text)) == _without_empty(expected)
    except MalformedError:
        same = False
    if not same:
        raise malformed(text, 0, "this file is written in a way that cannot be edited safely")
    return text


def _without_empty(level: Any) -> Any:
    """Tables without content left out: whether one is written down changes nothing for its reader."""
    if not isinstance(level, dict):
        return level
    kept = {key: _without_empty(value) for key, value in level.items()}
    return {key: value for key, value in kept.items() if value != {}}


def _get(level: Any, path: TablePath) -> Any:
    for name in path:
        if not isinstance(level, dict) or name not in level:
            return None
        level = level[name]
    return level


def _put(level: dict[str, Any], path: TablePath, value: Any) -> None:
    for name in path[:-1]:
        level = level.setdefault(name, {})
    level[path[-1]] = value


def _drop(level: dict[str, Any], path: TablePath) -> None:
    del _get(level, path[:-1])[path[-1]]


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _dotted(path: TablePath) -> str:
    return ".".join(_quoted(name) for name in path)


def _quoted(name: str) -> str:
    return name if _BARE.fullmatch(name) else _render(name)


def _render(value: Any) -> str:
    if isinstance(value, dict):
        pairs = ", ".join(f"{_quoted(key)} = {_render(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_render(item) for item in value)}]"
    if isinstance(value, str | bool | int | float):
        # JSON's escapes are a part of TOML's; DEL alone has to be escaped here and not there.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return str(value)  # dates and times, in the one form that both know
