"""Folders of Markdown notes: plain ones, Obsidian's, basic-memory's, and those that Sunaiva exported.

A note becomes pieces of `document`, by headings. In basic-memory's notes each observation is a fact of its own. In
Sunaiva's own export each block is the memory it was, its text exact to the character.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from mcp_server.exporters.destination import MARK_LINE
from mcp_server.exporters.markdown import BLOCK_MARK, Block, unescape
from mcp_server.importers import fields
from mcp_server.importers.bundle import Bundle, Member
from mcp_server.importers.chunks import chunks, opening_heading
from mcp_server.importers.drafts import Item, Problem, in_parts, moment, name, source, tags
from mcp_server.importers.drafts import digest as digest_of
from mcp_server.model import DEFAULT_SPACE, Draft, Kind

# A note is read as a whole; one larger than this is a book or no note at all.
NOTE_BYTES_MAX = 20_000_000
FRONT_MATTER_CHARS_MAX = 64_000
# The parser needs minutes for thousands of open brackets; people write three.
FRONT_MATTER_NESTING_MAX = 50

_FRONT_MATTER = re.compile(
    r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE
)
_DAY_IN_NAME = re.compile(r"\d{4}-\d{2}-\d{2}")
_OBSERVATION = re.compile(r"^[ \t]*[-*][ \t]+\[([^\]\[\n]{2,})\][ \t]+([^\n]+)\n?", re.MULTILINE)
_INLINE_TAG = re.compile(r"(?<!\S)#([\w/-]+)")
_BLOCK = re.compile(rf"^{re.escape(BLOCK_MARK)}(\{{.*\}}) -->\n[^\n]*\n\n", re.MULTILINE)
_DATES = ("date", "created", "created_at", "created_date")

_KINDS: dict[str, Kind] = {"preference": "preference", "decision": "decision", "event": "event"}
"""Categories of observations that are kinds of memories too; the others are facts."""


class _Note(Struct, frozen=True):
    name: str
    front: dict[Any, Any]
    body: str

    @property
    def title(self) -> str:
        return (
            fields.text(self.front, "title")
            or opening_heading(self.body)
            or PurePosixPath(self.name).stem
        )

    @property
    def tags(self) -> list[str]:
        given = self.front.get("tags", self.front.get("tag"))
        listed = re.split(r"[,\s]+", given) if isinstance(given, str) else given
        return (
            [str(each) for each in listed if isinstance(each, str | int)]
            if isinstance(listed, list)
            else []
        )

    @property
    def at(self) -> datetime | None:
        for field in _DATES:
            value = self.front.get(field)
            # YAML reads an unquoted day as a date.
            day = (
                value.isoformat()
                if isinstance(value, date) and not isinstance(value, datetime)
                else value
            )
            if isinstance(day, str | datetime) and (found := moment(day)) is not None:
                return found
        day_in_name = _DAY_IN_NAME.match(PurePosixPath(self.name).stem)
        return moment(day_in_name[0]) if day_in_name else None


def read(bundle: Bundle) -> Iterator[Item]:
    for member in members(bundle):
        with bundle.open(member) as stream:
            raw = stream.read(NOTE_BYTES_MAX + 1)
        if len(raw) > NOTE_BYTES_MAX:
            yield Problem(member.name, f"longer than {NOTE_BYTES_MAX:,} bytes")
            continue
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            yield Problem(member.name, f"not valid UTF-8 at byte {error.start}; save it as UTF-8")
            continue
        if not text.startswith(MARK_LINE):
            yield from _note(member.name, text)


def members(bundle: Bundle) -> list[Member]:
    if len(bundle.members) == 1:
        return bundle.members
    return [each for each in bundle.members if each.base.lower().endswith((".md", ".markdown"))]


def _note(label: str, text: str) -> Iterator[Item]:
    found = _FRONT_MATTER.match(text)
    front: dict[Any, Any] = {}
    if found is not None:
        read = _front_matter(found[1])
        if read is None:
            yield Problem(
                label, "its front matter is not valid YAML; imported without its tags and date"
            )
        else:
            front = read
    note = _Note(label, front, text[found.end() :] if found else text)
    if front.get("sunaiva") == "memories":
        yield from _blocks(note)
    elif "permalink" in front:
        yield from _observations(note)
        yield from _pieces(note, _OBSERVATION.sub("", note.body))
    else:
        yield from _pieces(note, note.body)


def _front_matter(text: str) -> dict[Any, Any] | None:
    if len(text) > FRONT_MATTER_CHARS_MAX or _nesting(text) > FRONT_MATTER_NESTING_MAX:
        return None
    try:
        read = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date like 2026-13-01
        return None
    return read if isinstance(read, dict) else {}


def _nesting(text: str) -> int:
    steps = (1 if each in "[{" else -1 for each in text if each in "[{]}")
    return max(accumulate(steps), default=0)


def _pieces(note: _Note, body: str) -> Iterator[Draft]:
    for chunk in chunks(body, note.title):
        yield Draft(
            text=chunk.whole,
            source=source("markdown", f"{note.name}#{chunk.key}", "imported"),
            kind="document",
            tags=tags(*note.tags),
            occurred_at=note.at,
        )


def _observations(note: _Note) -> Iterator[Draft]:
    for category, line in _OBSERVATION.findall(note.body):
        text = line.strip()
        if not text:
            continue
        draft = Draft(
            text=f"{note.title}: {text}",
            source=source("markdown", f"{note.name}#{digest_of(category, text)}", "imported"),
            kind=_KINDS.get(category.lower(), "fact"),
            tags=tags(category, *_INLINE_TAG.findall(text), *note.tags),
            occurred_at=note.at,
        )
        yield from in_parts(draft)


def _blocks(note: _Note) -> Iterator[Item]:
    found = list(_BLOCK.finditer(note.body))
    ends = [each.start() - 1 for each in found[1:]] + [len(note.body)]
    for start, end in zip(found, ends, strict=True):
        try:
            block = msgspec.json.decode(start[1], type=Block)
        except (msgspec.DecodeError, RecursionError) as error:
            yield Problem(note.name, f"the comment of a memory was changed: {error}")
            continue
        text = unescape(note.body[start.end() : end].removesuffix("\n"))
        if text.strip():
            yield from in_parts(_memory(block, text, note.front))


def _memory(block: Block, text: str, front: dict[Any, Any]) -> Draft:
    said = source("markdown", block.id, block.trust)
    return Draft(
        text=text,
        source=said,
        kind=block.kind,
        space=name(fields.text(front, "space") or "") or DEFAULT_SPACE,
        tags=tags(*block.tags),
        occurred_at=moment(block.occurred_at),
        speaker=name(block.speaker or "") or None,
        conversation=name(fields.text(front, "conversation") or "") or None,
        position=block.position,
        archived=block.archived,
    )
