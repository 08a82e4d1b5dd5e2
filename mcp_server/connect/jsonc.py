"""Reads JSON, with comments and trailing commas if allowed, and remembers where everything stands.

A configuration file belongs to the person: comments, order and spacing included. So nothing here writes; it gives
the spans from which `edit` changes the one entry that is ours and leaves each other character alone.
"""

import json
import re
from typing import Any, Literal, NoReturn

from msgspec import Struct

from shared.errors import InvalidError

Dialect = Literal["json", "jsonc"]

DEPTH_MAX = 200
"""Deeper nesting is no configuration, and would exhaust the interpreter's stack."""

_TRIVIA = re.compile(r"[ \t\r\n]++|//[^\r\n]*+|/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"')
_SCALAR = re.compile(
    _STRING.pattern + r"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null"
)
_CLOSING = {"{": "}", "[": "]"}


class MalformedError(InvalidError):
    """The text cannot be understood at this place. Whoever knows the file's name completes the sentence."""

    def __init__(self, reason: str, *, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {reason}")


class Node(Struct, frozen=True, kw_only=True):
    """A value and its span; of an object or a list also its children and where their run ends."""

    start: int
    end: int
    value: Any
    children: "tuple[Child, ...]" = ()
    inner_end: int = 0
    """The end of the last thing, comments included, before the closing bracket."""
    ends_in_line_comment: bool = False


class Child(Struct, frozen=True, kw_only=True):
    key: str | None
    start: int
    value: Node
    before: int
    """The end of what stands before it: the opening bracket, a comma or a comment."""
    after_line_comment: bool
    comma: int | None


def parse(text: str, dialect: Dialect) -> Node | None:
    """The document, or None when the file holds nothing but space and comments.

    Raises:
        MalformedError: the text is not of this dialect.
    """
    cursor = _Cursor(text, dialect)
    cursor.skip()
    if cursor.at_end():
        return None
    root = cursor.value(depth=0)
    cursor.skip()
    if not cursor.at_end():
        cursor.fail("there is more text after the end of the document")
    return root


def malformed(text: str, position: int, reason: str) -> MalformedError:
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return MalformedError(reason, line=line, column=column)


class _Cursor:
    """A place in the text, moving forward only."""

    def __init__(self, text: str, dialect: Dialect) -> None:
        self._text = text
        self._lenient = dialect == "jsonc"
        self._at = 1 if text.startswith("\ufeff") else 0
        self._before = self._at
        self._line_comment = False

    def fail(self, reason: str) -> NoReturn:
        raise malformed(self._text, self._at, reason)

    def at_end(self) -> bool:
        return self._at == len(self._text)

    def skip(self) -> None:
        while match := _TRIVIA.match(self._text, self._at):
            if match[0][0] == "/":
                if not self._lenient:
                    self.fail("comments are not allowed in this file")
                self._before = match.end()
                self._line_comment = match[0][1] == "/"
            self._at = match.end()

    def value(self, depth: int) -> Node:
        if self._peek() in _CLOSING:
            return self._container(depth + 1)
        start = self._at
        match = _SCALAR.match(self._text, start)
        if match is None:
            self.fail(self._unexpected("a value"))
        self._take(match.end())
        return Node(start=start, end=match.end(), value=json.loads(match[0]))

    def _container(self, depth: int) -> Node:
        if depth > DEPTH_MAX:
            self.fail(f"more than {DEPTH_MAX} levels of nesting")
        start = self._at
        closing = _CLOSING[self._peek()]
        self._take(start + 1)
        children: list[Child] = []
        self.skip()
        while self._peek() != closing:
            if children and children[-1].comma is None:
                self.fail(self._unexpected(f"',' or '{closing}'"))
            children.append(self._child(named=closing == "}", depth=depth))
            self.skip()
        if children and children[-1].comma is not None and not self._lenient:
            self.fail(f"a comma before the closing '{closing}' is not allowed in this file")
        inner_end, in_comment = self._before, self._line_comment
        self._take(self._at + 1)
        return Node(
            start=start,
            end=self._at,
            value=(
                {child.key: child.value.value for child in children}
                if closing == "}"
                else [child.value.value for child in children]
            ),
            children=tuple(children),
            inner_end=inner_end,
            ends_in_line_comment=in_comment,
        )

    def _child(self, *, named: bool, depth: int) -> Child:
        start, before, in_comment = self._at, self._before, self._line_comment
        key = self._key() if named else None
        value = self.value(depth)
        self.skip()
        comma = self._at if self._peek() == "," else None
        if comma is not None:
            self._take(comma + 1)
        return Child(
            key=key,
            start=start,
            value=value,
            before=before,
            after_line_comment=in_comment,
            comma=comma,
        )

    def _key(self) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            self.fail(self._unexpected('a name in double quotes or "}"'))
        self._take(match.end())
        self.skip()
        if self._peek() != ":":
            self.fail(self._unexpected("':'"))
        self._take(self._at + 1)
        self.skip()
        key: str = json.loads(match[0])
        return key

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, end: int) -> None:
        self._at = self._before = end
        self._line_comment = False

    def _unexpected(self, expected: str) -> str:
        found = self._peek()
        return (
            f"expected {expected}, found {found!r}"
            if found
            else f"expected {expected}, but the file ends"
        )
