"""What the indexes keep of each memory, in row order: the catalogue's lines (the fields of `catalogue.Entry`, without a text), and
what the keyword index reads."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mcp_server.vault import texts

if TYPE_CHECKING:
    from sqlite_utils import Database

Line = tuple[Any, ...]


def after(db: "Database", row: int, *, limit: int) -> list[Line]:
    return _lines(db, "row > ? ORDER BY row LIMIT ?", [row, limit])


def of(db: "Database", rows: Iterable[int]) -> list[Line]:
    """Those of these rows that are there."""
    return _lines(db, "row IN (SELECT value FROM json_each(?))", [json.dumps(list(rows))])


def between(db: "Database", first: int, last: int) -> list[Line]:
    """Those from one row to another, both included."""
    return _lines(db, "row BETWEEN ? AND ? ORDER BY row", [first, last])


def told_between(db: "Database", first: int, last: int) -> list[tuple[int, str, str | None, int]]:
    """What the keyword index holds of memories from one row to another, both included: row, text, speaker, when."""
    found = db.execute(
        """SELECT row, speaker, coalesce(occurred_ms, created_ms) FROM memories WHERE row BETWEEN ? AND ? ORDER BY row""",
        [first, last],
    ).fetchall()
    said = texts.of(db, [row for row, *_ in found])
    return [(row, said[row], speaker, when_ms) for row, speaker, when_ms in found]


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
