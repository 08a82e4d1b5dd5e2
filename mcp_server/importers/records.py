"""Records out of JSON of any size: a list, one object, objects in a row, or one a line; never all at once in memory.

The splitter only finds where a record begins and ends; each record is then decoded strictly by itself. So a record that
is malformed, not UTF-8, too deep or too large is one `Problem`, and the records after it are read as if it were not there.
"""

import io
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from mcp_server.importers.bundle import BUFFER_BYTES, Bundle, Member
from mcp_server.importers.drafts import Problem
from shared.errors import CorruptError, InvalidError

# A record is decoded as a whole. The longest conversations known are some tens of megabytes; a line of a session may
# carry pictures.
RECORD_BYTES_MAX = 256_000_000
LINE_BYTES_MAX = 64_000_000
# Exports nest some twenty levels; a decoder's recursion ends in the hundreds.
NESTING_MAX = 100

_READ_BYTES = 1_000_000
_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")
_SPACE = b" \t\r\n"
_BETWEEN = _SPACE + b","

# The next bracket that is not in a string (groups: 1 opens, 2 closes), or the beginning of a string whose end has not
# been read yet (group 3), or the end. Possessive throughout, so that no input makes it go back and forth.
_BRACKET = re.compile(
    rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+(?:([\[{])|([\]}])|(")|\Z)', re.DOTALL
)
# A whole string (in no group) or a bracket, for a short beginning.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|([\[{])|([\]}])', re.DOTALL)


class Shape(Struct, frozen=True):
    """What a file's records look like, from its beginning alone."""

    fields: frozenset[str]
    """Of the records themselves."""
    inner: frozenset[str]
    """Of objects in lists in the records: `{"results": [{…}]}`."""


class NotJsonError(InvalidError):
    """A whole file that is no JSON."""


class CutShortError(CorruptError):
    """A file that ends in the middle of a record."""


def records_in(bundle: Bundle, members: list[Member]) -> Iterator[tuple[str, Any]]:
    """The records of several files, each with the name of its file. One bad file among others is a `Problem`.

    Raises:
        NotJsonError, CutShortError: it is the only file.
    """
    for member in members:
        with bundle.open(member) as stream:
            try:
                for record in records(stream, member.name):
                    yield member.name, record
            except (NotJsonError, CutShortError) as error:
                if len(members) == 1:
                    raise
                yield member.name, Problem(member.name, str(error))


def records(stream: io.BufferedReader, where: str) -> Iterator[Any]:
    """Decoded records, and a `Problem` for each that cannot be decoded.

    Raises:
        NotJsonError: this is no JSON at all.
        CutShortError: it ends in the middle.
    """
    _skip_bom(stream, where)
    beginning = stream.peek(BUFFER_BYTES).lstrip(_SPACE)
    if not beginning:
        raise NotJsonError(f"{where} is empty. Export it again.")
    if beginning[:1] not in b"[{":
        raise NotJsonError(f"{where} is not JSON. Give the file as the product exported it.")
    if beginning[:1] == b"{" and _first_line_is_whole(beginning):
        return lines(stream, where)
    return _split(stream, where, within_list=beginning[:1] == b"[")


def lines(stream: io.BufferedReader, where: str) -> Iterator[Any]:
    """The same for JSON that is known to be one record a line, where a broken line cannot harm the next."""
    _skip_bom(stream, where)
    number = 0
    while line := stream.readline(LINE_BYTES_MAX):
        number += 1
        place = f"{where}, line {number}"
        if len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
            _skip_line(stream)
            yield Problem(place, f"longer than {LINE_BYTES_MAX:,} bytes")
        elif line.strip(_SPACE):
            yield _decoded(line, place)


def shape(stream: io.BufferedReader) -> Shape:
    """Look at the beginning of what may be JSON; the stream is of no use afterwards."""
    head = stream.read(BUFFER_BYTES).removeprefix(_BOM).lstrip(_SPACE)
    level = 2 if head[:1] == b"[" else 1
    found: dict[int, set[str]] = {level: set(), level + 2: set()}
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(head):
        if token[1]:
            depth += 1
        elif token[2]:
            depth -= 1
        elif depth in found and head[token.end() : token.end() + 20].lstrip(_SPACE)[:1] == b":":
            found[depth].add(token[0][1:-1].decode("utf-8", "replace"))
    return Shape(frozenset(found[level]), frozenset(found[level + 2]))


def _skip_bom(stream: io.BufferedReader, where: str) -> None:
    beginning = stream.peek(3)[:3]
    if beginning.startswith(_WIDE_BOMS):
        raise NotJsonError(f"{where} is written in UTF-16. Save it as UTF-8, then import it again.")
    if beginning == _BOM:
        stream.read(3)


def _first_line_is_whole(beginning: bytes) -> bool:
    return not isinstance(_decoded(beginning.partition(b"\n")[0], ""), Problem)


def _skip_line(stream: io.BufferedReader) -> None:
    while (rest := stream.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
        pass


def _split(stream: io.BufferedReader, where: str, *, within_list: bool) -> Iterator[Any]:
    splitter = Splitter(where, base=1 if within_list else 0)
    # Reading as much again as is waiting keeps a long string from being scanned once per chunk.
    while chunk := stream.read(max(_READ_BYTES, splitter.waiting_bytes)):
        yield from splitter.feed(chunk)
    yield from splitter.finish()


class Splitter:
    """Finds records in JSON that arrives in chunks, however they are cut."""

    def __init__(self, where: str, base: int) -> None:
        self._where = where
        self._base = base  # how deep in the JSON its records lie
        self._buffer = b""
        self._offset = 0  # of the buffer in the file
        self._begin = 0  # of the present record, or of the gap before the next one, in the buffer
        self._scanned = 0  # up to where the buffer was looked at
        self._depth = 0
        self._deepest = 0
        self._too_long = False

    @property
    def waiting_bytes(self) -> int:
        return len(self._buffer) - self._scanned

    def feed(self, chunk: bytes) -> Iterator[Any]:
        self._forget_what_is_done()
        self._buffer += chunk
        for token in _BRACKET.finditer(self._buffer, self._scanned):
            if token[3]:
                self._scanned = token.start(3)
                break
            self._scanned = token.end()
            if token[1]:
                yield from self._open(token.start(1))
            elif token[2]:
                yield from self._close()
        self._bound()

    def finish(self) -> Iterator[Any]:
        if self._depth != 0 or self.waiting_bytes:
            raise CutShortError(
                f"{self._where} ends in the middle of a record: it was not downloaded or copied completely, or was edited "
                "by hand. Get it again, then repeat the import; what was imported already is kept and not added twice."
            )
        yield from self._gap(len(self._buffer))

    def _open(self, at: int) -> Iterator[Problem]:
        if self._depth == self._base:
            yield from self._gap(at)
            self._begin = at
        self._depth += 1
        self._deepest = max(self._deepest, self._depth)
        if self._depth == self._base:  # the list itself
            self._begin = self._scanned

    def _close(self) -> Iterator[Any]:
        if self._depth == self._base:  # the list itself, or a bracket too many
            yield from self._gap(self._scanned - 1)
            self._begin = self._scanned
        self._depth = max(0, self._depth - 1)
        if self._depth != self._base or self._begin == self._scanned:
            return
        if self._too_long:
            yield Problem(self._place(), f"a record longer than {RECORD_BYTES_MAX:,} bytes")
        elif self._deepest - self._base > NESTING_MAX:
            yield Problem(self._place(), f"a record nested deeper than {NESTING_MAX} levels")
        else:
            yield _decoded(self._buffer[self._begin : self._scanned], self._place())
        self._begin, self._deepest, self._too_long = self._scanned, 0, False

    def _gap(self, end: int) -> Iterator[Problem]:
        if self._buffer[self._begin : end].strip(_BETWEEN):
            yield Problem(self._place(), "something that is no record stands between the records")

    def _bound(self) -> None:
        if self._depth <= self._base and not self._buffer[self._begin : self._scanned].strip(
            _BETWEEN
        ):
            self._begin = self._scanned
        if len(self._buffer) - self._begin <= RECORD_BYTES_MAX:
            return
        if self._depth <= self._base or self.waiting_bytes > RECORD_BYTES_MAX // 2:
            raise NotJsonError(
                f"{self._where} is not JSON, or holds a text far longer than anybody writes. Give the file as the product "
                "exported it."
            )
        self._too_long = True
        self._begin = self._scanned

    def _forget_what_is_done(self) -> None:
        self._buffer = self._buffer[self._begin :]
        self._offset += self._begin
        self._scanned -= self._begin
        self._begin = 0

    def _place(self) -> str:
        return f"{self._where}, byte {self._offset + self._begin}"


def _decoded(record: bytes, place: str) -> Any:
    try:
        record.decode()  # the decoder below would count from the beginning of the string in question
        return msgspec.json.decode(record)
    except UnicodeDecodeError as error:
        return Problem(place, f"not valid UTF-8 at byte {error.start} of it")
    except msgspec.DecodeError as error:
        return Problem(place, f"not valid JSON: {error}")
    except RecursionError:
        return Problem(place, "nested too deeply")
