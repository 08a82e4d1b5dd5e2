"""What the in-memory catalogue keeps of each memory, in row order; the fields of `catalogue.Entry`. It reads no text."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlite_utils import Database

Line = tuple[Any, ...]


def after(db: "Database", row: int, *, limit: int) -> list[Line]:
    return _lines(db, "row > ? ORDER BY row LIMIT ?", [row, limit])


def of(db: "Database", rows: Iterable[int]) -> list[Line]:
    """Those of these rows that are there."""
    return _lines(db, "row IN (SELECT value FROM json_each(?))", [json.dumps(list(rows))])


def _lines(db: "Database", which: str, values: list[Any]) -> list[Line]:
    # Some 2 µs a memory; to look each name up once, in Python, is no faster than the view's joins.
    found: list[Line] = db.execute(
        f"""SELECT row, space, kind, trust, speaker, conversation, position, coalesce(occurred_ms, created_ms),
                coalesce(valid_from_ms, occurred_ms, created_ms), valid_to_ms,
                archived = 1 OR superseded_by IS NOT NULL, chars, question, pinned, importance,
                coalesce(cues, 0)
            FROM memories WHERE {which}""",
        values,
    ).fetchall()
    return found
