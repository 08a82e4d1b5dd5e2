"""The keyword index's tables in the vault: segments of memories, and in each the postings of its terms.

SQL in here, values out. A segment never changes but for what is taken out of it; a new one is written under the mark that it
does not count yet, and takes the place of those it was made of in one transaction. What was taken out is nowhere left:
neither the row in a posting, nor a term that no other row has, nor a copy of either in a segment that does not count.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server.index.postings import Chunk, chunk, entries, look_up, pack, unpack

if TYPE_CHECKING:
    from sqlite_utils import Database

# So many chunks are some two hundred kilobytes, written or deleted in a few milliseconds: whoever stores a memory waits no longer.
CHUNKS_AT_ONCE = 200


class Segment(Struct, frozen=True):
    number: int
    first_row: int
    last_row: int
    tier: int
    """How often its memories were merged into a larger one."""
    memories: int


def live(db: "Database") -> list[Segment]:
    """The segments that count, in the order of their rows."""
    found = db.execute(
        """SELECT number, first_row, last_row, tier, memories FROM segments WHERE live = 1
           ORDER BY first_row"""
    )
    return [Segment(*record) for record in found]


def rows_with(db: "Database", terms: Sequence[str]) -> dict[str, list[NDArray[np.int64]]]:
    """For each term that is there: the rows that say it, as often as they do, one array for each segment, ascending."""
    # CROSS JOIN keeps this order: left to itself, SQLite would read every posting of a segment before it asks for a term.
    found = db.execute(
        """SELECT segments.first_row, asked.value, postings.terms, postings.ends, postings.body
           FROM segments CROSS JOIN json_each(?) AS asked CROSS JOIN postings ON segment = number AND first =
               (SELECT max(first) FROM postings WHERE segment = number AND first <= asked.value)
           WHERE live = 1""",
        [json.dumps(terms, ensure_ascii=False)],
    ).fetchall()
    rows: dict[str, list[NDArray[np.int64]]] = {}
    for first_row, term, *held in sorted(found, key=lambda record: int(record[0])):
        offsets = look_up(Chunk(*held), term)
        if offsets is not None:
            rows.setdefault(term, []).append(offsets + first_row)
    return rows


def begin(db: "Database", *, first_row: int, last_row: int, tier: int) -> int:
    """A new segment that does not count yet; its number."""
    cursor = db.execute(
        "INSERT INTO segments (first_row, last_row, tier, memories, live) VALUES (?, ?, ?, 0, 0)",
        [first_row, last_row, tier],
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def append(db: "Database", number: int, added: Iterable[Chunk]) -> None:
    db.conn.executemany(
        "INSERT INTO postings (segment, first, terms, ends, body) VALUES (?, ?, ?, ?, ?)",
        ((number, each.first, each.terms, each.ends, each.body) for each in added),
    )


def finish(db: "Database", number: int, *, memories: int, instead_of: Sequence[Segment]) -> None:
    """From now on this one counts, and those do not."""
    for former in instead_of:
        db.execute("UPDATE segments SET live = 0 WHERE number = ?", [former.number])
    db.execute("UPDATE segments SET live = 1, memories = ? WHERE number = ?", [memories, number])


def has_unused(db: "Database") -> bool:
    """Whether there is anything that does not count."""
    return db.execute("SELECT 1 FROM segments WHERE live = 0 LIMIT 1").fetchone() is not None


def delete_some(db: "Database") -> None:
    """Delete a part of what does not count."""
    unused = db.execute("SELECT number FROM segments WHERE live = 0 LIMIT 1").fetchone()
    if unused is None:
        return
    deleted = db.execute(
        """DELETE FROM postings WHERE segment = ?1 AND first IN
               (SELECT first FROM postings WHERE segment = ?1 LIMIT ?2)""",
        [*unused, CHUNKS_AT_ONCE],
    )
    if deleted.rowcount < CHUNKS_AT_ONCE:
        db.execute("DELETE FROM segments WHERE number = ?", unused)


def delete_unused(db: "Database") -> None:
    """Delete all that does not count."""
    db.execute("DELETE FROM postings WHERE segment IN (SELECT number FROM segments WHERE live = 0)")
    db.execute("DELETE FROM segments WHERE live = 0")


def delete_all(db: "Database") -> None:
    db.execute("DELETE FROM postings")
    db.execute("DELETE FROM segments")


def chunks_after(db: "Database", number: int, first: str, *, limit: int) -> list[Chunk]:
    """The next chunks of a segment, in order."""
    found = db.execute(
        "SELECT terms, ends, body FROM postings WHERE segment = ? AND first > ? ORDER BY first LIMIT ?",
        [number, first, limit],
    )
    return [Chunk(*record) for record in found]


def take_out(db: "Database", doomed: Mapping[int, Iterable[str]]) -> None:
    """Remove memories, each a row and its terms, from the segments they are in, and every other copy of what those held of
    them. However many they are, a chunk is written once."""
    delete_unused(db)
    for segment in live(db):
        inside = [row for row in doomed if segment.first_row <= row <= segment.last_row]
        if inside:
            _take_out_of(db, segment, {row: doomed[row] for row in inside})


def _take_out_of(db: "Database", segment: Segment, doomed: Mapping[int, Iterable[str]]) -> None:
    said = {term for terms in doomed.values() for term in terms}
    stays = np.ones(segment.last_row - segment.first_row + 1, np.bool_)
    stays[np.fromiter(doomed, np.int64) - segment.first_row] = False
    asked = json.dumps(sorted(said), ensure_ascii=False)
    held = db.execute(
        """SELECT terms, ends, body FROM postings WHERE segment = ?1 AND first IN
               (SELECT (SELECT max(first) FROM postings WHERE segment = ?1 AND first <= value) FROM json_each(?2))""",
        [segment.number, asked],
    ).fetchall()
    for before in [Chunk(*record) for record in held]:
        _put_back(db, segment.number, before, _without(before, said, stays))
    db.execute(
        "UPDATE segments SET memories = memories - ? WHERE number = ?",
        [len(doomed), segment.number],
    )


def _without(held: Chunk, terms: set[str], stays: NDArray[np.bool_]) -> Iterator[tuple[str, bytes]]:
    for term, packed in entries(held):
        if term not in terms:
            yield term, packed
            continue
        rows = unpack(packed)
        rows = rows[stays[rows]]
        if len(rows):
            yield term, pack(rows)


def _put_back(
    db: "Database", number: int, before: Chunk, left: Iterable[tuple[str, bytes]]
) -> None:
    kept = dict(left)
    # Always under a name that a kept term gives: the old one may be the very word that has to go.
    db.execute("DELETE FROM postings WHERE segment = ? AND first = ?", [number, before.first])
    if kept:
        append(db, number, [chunk(list(kept), list(kept.values()))])
