"""One memory as one line of JSON: the form in which memories leave the vault and come back without any loss.

The form is canonical: the same memory always gives the same bytes, so that export, import and export again are
byte-identical. Keys are sorted; what is absent, empty or false is left out, everything else is written; instants are
UTC with three decimals and a `Z`. This module must never normalise a text.
"""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mcp_server.model import COUNT_MAX, Kind, Link, Memory, Source, Trust
from shared.clock import whole_milliseconds
from shared.errors import InvalidError
from shared.ids import MemoryId, parse_memory_id

FORMAT = 1
"""Raised when an older Sunaiva could misread a line."""

HEADER = b'{"format":1,"sunaiva":"export"}\n'
"""No instant and no version of the program: the same vault gives the same file."""

# A text of a megabyte grows sixfold when every byte of it is escaped as \u00XX; the rest of a line is small.
LINE_BYTES_MAX = 8_000_000


class _Header(Struct, frozen=True):
    sunaiva: str
    format: int


class _SourceLine(
    Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    trust: Trust
    client: str | None = None
    tool: str | None = None
    key: str | None = None


class _LinkLine(Struct, frozen=True, forbid_unknown_fields=True):
    relation: str
    target: str


_Instant = Annotated[str, Meta(description="ISO 8601, UTC, milliseconds: 2026-03-01T09:30:00.000Z")]


class MemoryLine(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of `memories.jsonl`. What is left out is absent, empty or false."""

    id: Annotated[str, Meta(description="UUID")]
    text: str
    source: _SourceLine
    kind: Kind
    space: str
    importance: Annotated[float, Meta(ge=0, le=1)]
    version: Annotated[int, Meta(ge=1, le=COUNT_MAX)]
    created_at: _Instant
    updated_at: _Instant
    tags: tuple[str, ...] = ()
    links: tuple[_LinkLine, ...] = ()
    occurred_at: _Instant | None = None
    valid_from: _Instant | None = None
    valid_to: _Instant | None = None
    speaker: str | None = None
    conversation: str | None = None
    position: Annotated[int, Meta(ge=0, le=COUNT_MAX)] | None = None
    pinned: bool = False
    archived: bool = False
    superseded_by: str | None = None


def check_header(line: bytes, where: str) -> None:
    """Whether the lines that follow can be read by this version.

    Raises:
        InvalidError: this is not the beginning of an export, or a newer Sunaiva wrote it.
    """
    try:
        header = msgspec.json.decode(line, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        header = None
    if header is None or header.sunaiva != "export":
        raise InvalidError(
            f"{where} does not begin like an export of Sunaiva. Give a file that `sunaiva export` wrote."
        )
    check_format(header.format, where)


def check_format(number: int, where: str) -> None:
    """Raises InvalidError when a newer Sunaiva wrote it."""
    if number > FORMAT:
        raise InvalidError(
            f"{where} was written by a newer Sunaiva (format {number}, this one reads up to {FORMAT}). "
            "Update Sunaiva, then import it again."
        )


def encode(memory: Memory) -> bytes:
    """The line of a memory, with its newline."""
    line = MemoryLine(
        id=memory.id,
        text=memory.text,
        source=_SourceLine(
            trust=memory.source.trust,
            client=memory.source.client,
            tool=memory.source.tool,
            key=memory.source.key,
        ),
        kind=memory.kind,
        space=memory.space,
        importance=memory.importance,
        version=memory.version,
        created_at=instant(memory.created_at),
        updated_at=instant(memory.updated_at),
        tags=memory.tags,
        links=tuple(_LinkLine(link.relation, link.target) for link in memory.links),
        occurred_at=_instant_or_none(memory.occurred_at),
        valid_from=_instant_or_none(memory.valid_from),
        valid_to=_instant_or_none(memory.valid_to),
        speaker=memory.speaker,
        conversation=memory.conversation,
        position=memory.position,
        pinned=memory.pinned,
        archived=memory.archived,
        superseded_by=memory.superseded_by,
    )
    return msgspec.json.encode(line, order="sorted") + b"\n"


def decode(line: bytes) -> Memory:
    """The memory of a line.

    Raises:
        InvalidError: it is not a line that `encode` could have written.
    """
    try:
        line.decode()  # the decoder below would count from the beginning of the string in question
        read = msgspec.json.decode(line, type=MemoryLine)
    except UnicodeDecodeError as error:
        raise InvalidError(f"not valid UTF-8 at byte {error.start} of it") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidError(f"the line is not a memory: {error}") from None
    return Memory(
        id=parse_memory_id(read.id),
        text=read.text,
        source=Source(
            trust=read.source.trust,
            client=read.source.client,
            tool=read.source.tool,
            key=read.source.key,
        ),
        kind=read.kind,
        space=read.space,
        tags=tuple(sorted(set(read.tags))),
        links=tuple(
            sorted({Link(link.relation, parse_memory_id(link.target)) for link in read.links})
        ),
        occurred_at=_parse_or_none(read.occurred_at),
        valid_from=_parse_or_none(read.valid_from),
        valid_to=_parse_or_none(read.valid_to),
        speaker=read.speaker,
        conversation=read.conversation,
        position=read.position,
        importance=read.importance,
        pinned=read.pinned,
        archived=read.archived,
        superseded_by=_id_or_none(read.superseded_by),
        version=read.version,
        created_at=_parse(read.created_at),
        updated_at=_parse(read.updated_at),
    )


def schema() -> bytes:
    """The JSON Schema of a line, for whoever reads an export without Sunaiva."""
    described: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **msgspec.json.schema(MemoryLine),
    }
    return msgspec.json.format(msgspec.json.encode(described, order="sorted"), indent=2) + b"\n"


def instant(moment: datetime) -> str:
    """`2026-03-01T09:30:00.000Z`."""
    return (
        whole_milliseconds(moment).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    )


def _instant_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else instant(moment)


def _parse(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return whole_milliseconds(moment)
    except (ValueError, OverflowError):
        pass
    raise InvalidError(f"{text[:40]!r} is not an instant like 2026-03-01T09:30:00.000Z")


def _parse_or_none(text: str | None) -> datetime | None:
    return None if text is None else _parse(text)


def _id_or_none(text: str | None) -> MemoryId | None:
    return None if text is None else parse_memory_id(text)
