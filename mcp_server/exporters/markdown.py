"""Memories as Markdown for people: a folder per space, a file per conversation, a file per day for everything else.

Each memory follows a comment that carries what its text does not say, so that the Markdown importer finds the texts
again exactly; but it is for reading, and carries less than JSON lines or the zip do.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from itertools import groupby
from pathlib import Path

import msgspec
import yaml
from msgspec import Struct

from mcp_server.exporters.counted import Counted
from mcp_server.exporters.destination import MARK_FILE, MARK_LINE, no_space
from mcp_server.exporters.lines import instant
from mcp_server.model import Kind, Memory, Trust
from shared.clock import to_ms

BLOCK_MARK = "<!-- sunaiva "
_MARK_IN_TEXT = re.compile(rf"^(\\*{re.escape(BLOCK_MARK)})", re.MULTILINE)
_ESCAPED_MARK = re.compile(rf"^\\(\\*{re.escape(BLOCK_MARK)})", re.MULTILINE)

# Three bytes a character for most scripts, and file systems allow 255 bytes a name.
_NAME_CHARS_MAX = 60

_README = f"""{MARK_LINE}
# Memories

Exported from Sunaiva: a folder per space, a file per conversation, and a file per day for what belongs to none.
The comments above each memory let `sunaiva import` read the folder again. To move a vault without any loss, export
JSON lines or the zip instead.
"""


class Block(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the comment above a memory says."""

    id: str
    kind: Kind
    trust: Trust
    tags: tuple[str, ...] = ()
    occurred_at: str | None = None
    speaker: str | None = None
    position: int | None = None
    archived: bool = False
    """Archived or superseded: not to be recalled as the present state of things."""


def write(memories: Iterator[Memory], folder: Path) -> int:
    """Fill the empty folder; how many memories it holds.

    Raises:
        UnavailableError: the disk is full.
    """
    scratch = folder / ".scratch"
    try:
        with closing(sqlite3.connect(scratch, isolation_level=None)) as db:
            count = _sort_into(db, memories)
            for path, rows in groupby(_sorted_blocks(db), key=lambda row: row[0]):
                _write_file(folder / path, rows)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}:
            raise no_space(folder) from error
        raise
    scratch.unlink()
    mark = folder / MARK_FILE
    mark.touch(mode=0o600)
    mark.write_text(_README, encoding="utf-8")
    return count


def escape(text: str) -> str:
    """The text with nothing in it that reads like the beginning of a block."""
    return _MARK_IN_TEXT.sub(r"\\\1", text)


def unescape(text: str) -> str:
    return _ESCAPED_MARK.sub(r"\1", text)


_Row = tuple[str, str, str | None, str, bytes]
"""Path, space, conversation, day, block."""


def _sort_into(db: sqlite3.Connection, memories: Iterator[Memory]) -> int:
    """Blocks in a table on disk: they come by id, files want them by conversation, and a vault may not fit in memory."""
    counted = Counted(memories)
    db.executescript(
        """PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
        CREATE TABLE blocks
            (path TEXT, place INTEGER, id TEXT, space TEXT, conversation TEXT, day TEXT, block BLOB);
        BEGIN;"""
    )
    for memory in counted:
        moment = _moment(memory)
        place = to_ms(moment) if memory.conversation is None else memory.position
        day = moment.date().isoformat()
        file = day if memory.conversation is None else _titled(memory.conversation)
        path = f"{_folder(memory.space)}/{file}.md"
        db.execute(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?)",
            [path, place, memory.id, memory.space, memory.conversation, day, _block(memory)],
        )
    return counted.count


def _sorted_blocks(db: sqlite3.Connection) -> Iterator[_Row]:
    return db.execute(
        """SELECT path, space, conversation, day, block FROM blocks
        ORDER BY path, place IS NULL, place, id"""
    )


def _write_file(path: Path, rows: Iterator[_Row]) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    _, space, conversation, day, first = next(rows)
    with path.open("wb") as file:
        file.write(_head(space, conversation, day).encode() + first)
        file.writelines(block for *_, block in rows)


def _head(space: str, conversation: str | None, day: str) -> str:
    about = {"sunaiva": "memories", "space": space}
    if conversation is not None:
        about["conversation"] = conversation
    front = yaml.safe_dump(about, allow_unicode=True, sort_keys=False, width=1_000)
    return f"---\n{front}---\n\n# {' '.join((conversation or day).split())}\n"


def _block(memory: Memory) -> bytes:
    block = Block(
        id=memory.id,
        kind=memory.kind,
        trust=memory.source.trust,
        tags=memory.tags,
        occurred_at=None if memory.occurred_at is None else instant(memory.occurred_at),
        speaker=memory.speaker,
        position=memory.position,
        archived=memory.archived or memory.superseded_by is not None,
    )
    # A `>` stays out of the comment, so that no tag can end it.
    said = msgspec.json.encode(block, order="sorted").replace(b">", b"\\u003e")
    head = f"\n{BLOCK_MARK}".encode() + said + f" -->\n{_byline(memory)}\n\n".encode()
    return head + escape(memory.text).encode() + b"\n"


def _byline(memory: Memory) -> str:
    """One line for the reader; the importer looks at the comment only."""
    who = " ".join((memory.speaker or memory.kind).split())
    parts = [f"**{who}**", f"{_moment(memory):%Y-%m-%d %H:%M}"]
    parts += ["#" + re.sub(r"\s+", "-", tag) for tag in memory.tags]
    if memory.superseded_by is not None:
        parts.append("(superseded)")
    return " · ".join(parts)


def _moment(memory: Memory) -> datetime:
    return memory.occurred_at or memory.created_at


def _folder(space: str) -> str:
    # Short names may be devices on Windows, and capitals are not told apart everywhere.
    return (
        space
        if re.fullmatch(r"[a-z0-9-]{4,}", space) and len(space) <= _NAME_CHARS_MAX
        else _titled(space)
    )


def _titled(text: str) -> str:
    """A name that every file system takes, and a different one for every text."""
    plain = re.sub(r"[^\w .,()+-]+", "-", text).strip(" .-")[:_NAME_CHARS_MAX].strip(" .-")
    return f"{plain} {hashlib.sha256(text.encode()).hexdigest()[:8]}".strip()
