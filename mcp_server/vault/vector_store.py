"""The vectors' tables: those that recall searches, those of a model that is to take over, and late interaction's tokens.

All SQL about them is here. All vectors of a table are of one model: `vectors` is complete but for what was stored just now,
`vectors_coming` grows beside it, row by row, until it is complete and takes its place in one transaction.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server.vault import texts

if TYPE_CHECKING:
    from sqlite_utils import Database

Table = Literal["vectors", "vectors_coming", "token_codes"]
_TABLES: tuple[Table, ...] = get_args(Table)

# As the migrations left it; `vectors` has the same columns.
_COMING = """CREATE TABLE vectors_coming (
    memory INTEGER PRIMARY KEY REFERENCES records (row) ON DELETE CASCADE,
    model INTEGER NOT NULL REFERENCES models (number),
    code BLOB NOT NULL
) STRICT"""

Batch = tuple[NDArray[np.int64], NDArray[np.uint8]]
"""Rows (n,) and codes (n, dim / 2)."""


class Serving(Struct, frozen=True):
    """What the vault's own vectors are of."""

    model: str
    vectors: int


class Embedded(Struct, frozen=True):
    """A memory with its vector."""

    memory: bytes
    head: str
    speaker: str | None
    code: bytes


def serving(db: "Database") -> Serving | None:
    """The model that most vectors are of (an earlier version may have left two), and how many those are."""
    found = db.execute(
        """SELECT name, count(*) FROM vectors JOIN models ON number = model
           GROUP BY model ORDER BY count(*) DESC LIMIT 1"""
    ).fetchone()
    return None if found is None else Serving(*found)


def model_number(db: "Database", name: str) -> int:
    db.execute("INSERT OR IGNORE INTO models (name) VALUES (?)", [name])
    (number,) = db.execute("SELECT number FROM models WHERE name = ?", [name]).fetchone()
    return int(number)


def chosen(db: "Database") -> Path | None:
    """The folder of the model that the person chose for this vault; None if the settings say."""
    found = db.execute("SELECT folder FROM model_chosen").fetchone()
    return None if found is None else Path(found[0])


def choose(db: "Database", folder: Path | None) -> None:
    db.execute("DELETE FROM model_chosen")
    if folder is not None:
        db.execute("INSERT INTO model_chosen (one, folder) VALUES (1, ?)", [str(folder)])


def put(
    db: "Database", table: Table, model: int, rows: Sequence[int], codes: NDArray[np.uint8]
) -> None:
    db.conn.executemany(
        f"INSERT OR REPLACE INTO {table} (memory, model, code) VALUES (?, ?, ?)",
        [(row, model, code.tobytes()) for row, code in zip(rows, codes, strict=True)],
    )


def load(db: "Database", model: int, *, after: int, limit: int) -> Batch:
    """The next vectors of a model after a row, in row order."""
    found = db.execute(
        "SELECT memory, code FROM vectors WHERE memory > ? AND model = ? ORDER BY memory LIMIT ?",
        [after, model, limit],
    )
    return _batch(found.fetchall())


def load_rows(db: "Database", model: int, rows: Sequence[int]) -> Batch:
    """Those of these rows."""
    found = db.execute(
        """SELECT memory, code FROM vectors WHERE memory IN (SELECT value FROM json_each(?)) AND model = ?
           ORDER BY memory""",
        [json.dumps(list(rows)), model],
    )
    return _batch(found.fetchall())


def _batch(found: Sequence[tuple[int, bytes]]) -> Batch:
    code = np.frombuffer(b"".join(code for _, code in found), np.uint8)
    rows = np.fromiter((row for row, _ in found), np.int64, len(found))
    return rows, code.reshape(len(found), -1 if len(found) else 0)


def newest(db: "Database", model: int, *, before: bytes, chars: int, limit: int) -> list[Embedded]:
    """Memories that have a vector, from the greatest id down; below `before`."""
    found = db.execute(
        # In this order of tables, or all of them would be sorted each time.
        """SELECT memories.row, id, speaker, code FROM memories CROSS JOIN vectors ON vectors.memory = memories.row
           WHERE id < ? AND model = ? ORDER BY id DESC LIMIT ?""",
        [before, model, limit],
    ).fetchall()
    said = texts.of(db, [row for row, *_ in found])
    return [
        Embedded(memory, said[row][:chars], speaker, code) for row, memory, speaker, code in found
    ]


def lacking(
    db: "Database", model: int, memories: Sequence[bytes], *, chars: int
) -> dict[bytes, tuple[int, str, str | None]]:
    """Those of these memories that are here and have no vector: row, head of the text and speaker, by id."""
    found = db.execute(
        """SELECT row, id, speaker FROM memories WHERE id IN (SELECT unhex(value) FROM json_each(?))
           AND NOT EXISTS (SELECT 1 FROM vectors WHERE vectors.memory = memories.row AND model = ?)""",
        [json.dumps([memory.hex() for memory in memories]), model],
    ).fetchall()
    said = texts.of(db, [row for row, *_ in found])
    return {memory: (row, said[row][:chars], speaker) for row, memory, speaker in found}


def codes_of(db: "Database", row: int) -> list[bytes]:
    """Each vector that is stored of a memory."""
    found = db.execute(
        """SELECT code FROM vectors WHERE memory = ?
           UNION ALL SELECT code FROM vectors_coming WHERE memory = ?""",
        [row, row],
    )
    return [code for (code,) in found]


def holds(db: "Database", piece: bytes) -> bool:
    """Whether a vector of a memory that is there has these bytes: equal texts have equal vectors."""
    return any(
        db.execute(f"SELECT 1 FROM {table} WHERE instr(code, ?) LIMIT 1", [piece]).fetchone()
        for table in _TABLES
    )


def count(db: "Database", table: Table, model: int) -> int:
    (number,) = db.execute(f"SELECT count(*) FROM {table} WHERE model = ?", [model]).fetchone()
    return int(number)


def waiting(db: "Database", table: Table, model: int) -> int:
    """How many memories have nothing in this table yet."""
    (number,) = db.execute(
        f"SELECT count(*) FROM records WHERE row NOT IN (SELECT memory FROM {table} WHERE model = ?)",
        [model],
    ).fetchone()
    return int(number)


def waiting_rows(
    db: "Database", table: Table, model: int, *, after: int, limit: int
) -> list[tuple[bytes, int]]:
    """The next memories beyond a row that have nothing in this table yet, in row order: id, row."""
    return db.execute(
        f"""SELECT id, row FROM records WHERE row > ? AND NOT EXISTS
               (SELECT 1 FROM {table} WHERE memory = row AND model = ?) ORDER BY row LIMIT ?""",
        [after, model, limit],
    ).fetchall()


def heads(db: "Database", rows: Sequence[int], *, chars: int) -> list[tuple[int, str, str | None]]:
    """Of those of these memories that are there: row, head of the text, speaker."""
    found = db.execute(
        "SELECT row, speaker FROM memories WHERE row IN (SELECT value FROM json_each(?)) ORDER BY row",
        [json.dumps(list(rows))],
    ).fetchall()
    said = texts.of(db, [row for row, _ in found])
    return [(row, said[row][:chars], speaker) for row, speaker in found]


def keep_only(db: "Database", table: Table, model: int | None) -> int:
    """Delete what is of another model, or everything; how many that were."""
    return int(db.execute(f"DELETE FROM {table} WHERE model IS NOT ?", [model]).rowcount)


def promote(db: "Database") -> None:
    """The coming vectors take the place of the others, which are gone."""
    db.execute("DROP TABLE vectors")
    db.execute("ALTER TABLE vectors_coming RENAME TO vectors")
    db.execute(_COMING)


def put_tokens(db: "Database", model: int, codes: Iterable[tuple[int, bytes]]) -> None:
    for row, code in codes:
        db.execute(
            "INSERT OR REPLACE INTO token_codes (memory, model, code) VALUES (?, ?, ?)",
            [row, model, code],
        )


def tokens_of(db: "Database", rows: Iterable[int]) -> dict[int, bytes]:
    """The tokens' codes of those of these rows that have some."""
    found = db.execute(
        "SELECT memory, code FROM token_codes WHERE memory IN (SELECT value FROM json_each(?))",
        [json.dumps(list(rows))],
    )
    return dict(found.fetchall())


def clear(db: "Database") -> None:
    """All of it is a projection of the memories."""
    for table in _TABLES:
        db.execute(f"DELETE FROM {table}")
