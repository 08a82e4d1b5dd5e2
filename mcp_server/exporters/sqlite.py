"""A person's memories as a plain SQLite file that any tool opens. It is not encrypted, and the report says so."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from itertools import islice
from pathlib import Path

from mcp_server.exporters.counted import Counted
from mcp_server.exporters.destination import no_space
from mcp_server.exporters.lines import instant
from mcp_server.model import Memory

# Enough rows to make a statement's overhead vanish, few enough to hold them in memory whatever their texts are.
_ROWS_PER_BATCH = 200

_SCHEMA = """
CREATE TABLE README (about TEXT NOT NULL, text TEXT NOT NULL) STRICT;
CREATE TABLE memories (
    id TEXT PRIMARY KEY, text TEXT NOT NULL, kind TEXT NOT NULL, space TEXT NOT NULL,
    occurred_at TEXT, valid_from TEXT, valid_to TEXT,
    speaker TEXT, conversation TEXT, position INTEGER,
    trust TEXT NOT NULL, client TEXT, tool TEXT, key TEXT,
    importance REAL NOT NULL, pinned INTEGER NOT NULL, archived INTEGER NOT NULL,
    superseded_by TEXT, version INTEGER NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE tags (
    memory TEXT NOT NULL REFERENCES memories (id), tag TEXT NOT NULL, PRIMARY KEY (memory, tag)
) STRICT, WITHOUT ROWID;
CREATE TABLE links (
    memory TEXT NOT NULL REFERENCES memories (id), relation TEXT NOT NULL, target TEXT NOT NULL,
    PRIMARY KEY (memory, relation, target)
) STRICT, WITHOUT ROWID;
"""

_README = (
    ("what", "Everything in a Sunaiva memory vault, as plain tables. This file is not encrypted."),
    ("memories", "One row a memory. Instants are ISO 8601 in UTC; pinned and archived are 0 or 1."),
    ("tags", "The tags of each memory."),
    ("links", "Named relations from one memory to another, by id."),
    ("trust", "said_by_user, said_by_assistant, tool_output or imported: whose words the text is."),
    ("superseded_by", "The id of the memory that corrected this one."),
)


def write(memories: Iterator[Memory], path: Path, *, exported_at: datetime) -> int:
    """Fill the empty file at `path`; how many memories it holds.

    Raises:
        UnavailableError: the disk is full.
    """
    counted = Counted(memories)
    try:
        with closing(sqlite3.connect(path)) as db:
            # The file is renamed into place only when complete, so nothing needs a journal beside it.
            db.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_SCHEMA}")
            with db:
                db.executemany("INSERT INTO README VALUES (?, ?)", _README)
                db.execute("INSERT INTO README VALUES ('exported_at', ?)", [instant(exported_at)])
                rows = iter(counted)
                while batch := list(islice(rows, _ROWS_PER_BATCH)):
                    _insert(db, batch)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}:
            raise no_space(path) from error
        raise
    return counted.count


def _insert(db: sqlite3.Connection, memories: list[Memory]) -> None:
    db.executemany(
        f"INSERT INTO memories VALUES ({', '.join('?' * 21)})",  # noqa: S608 (only question marks)
        [_row(memory) for memory in memories],
    )
    db.executemany(
        "INSERT INTO tags VALUES (?, ?)",
        [(memory.id, tag) for memory in memories for tag in memory.tags],
    )
    db.executemany(
        "INSERT INTO links VALUES (?, ?, ?)",
        [(memory.id, link.relation, link.target) for memory in memories for link in memory.links],
    )


def _row(memory: Memory) -> tuple[object, ...]:
    source = memory.source
    return (
        *(memory.id, memory.text, memory.kind, memory.space),
        *map(_instant_or_none, (memory.occurred_at, memory.valid_from, memory.valid_to)),
        *(memory.speaker, memory.conversation, memory.position),
        *(source.trust, source.client, source.tool, source.key),
        *(memory.importance, int(memory.pinned), int(memory.archived)),
        *(memory.superseded_by, memory.version),
        *(instant(memory.created_at), instant(memory.updated_at)),
    )


def _instant_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else instant(moment)
