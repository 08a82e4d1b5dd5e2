"""Where the text of a memory lies: loose in a row of its own, or with others in a block. The one place that knows.

A text is in exactly one of the two, and goes from one to the other whole, in one transaction of the caller's. Nothing that was
unpacked is kept between calls, so there is nothing that forgetting could miss: a block takes some 0.1 ms to read.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from mcp_server.vault import blocks

if TYPE_CHECKING:
    from sqlite_utils import Database

_ROWS = "(SELECT value FROM json_each(?))"


class Amount(Struct, frozen=True):
    memories: int
    text_bytes: int


class Head(Struct, frozen=True):
    """A block against which others may be compressed."""

    number: int
    content: bytes
    led: int
    """How many are."""


def put(db: "Database", row: int, text: str) -> None:
    db.execute("INSERT INTO texts (memory, text) VALUES (?, ?)", [row, text])


def put_many(db: "Database", texts: Iterable[tuple[int, str]]) -> None:
    db.conn.executemany("INSERT INTO texts (memory, text) VALUES (?, ?)", texts)


def pack_new(db: "Database", texts: Mapping[int, str]) -> dict[int, int]:
    """Put texts of memories that are about to be stored into blocks, but for the last few that make no whole one; the block of
    each that is in one. None is where a consolidation was undone."""
    if db.execute("SELECT 1 FROM consolidation WHERE did = 'undone'").fetchone() is not None:
        return {}
    block_of: dict[int, int] = {}
    together: dict[int, str] = {}
    size = 0
    for row, text in texts.items():
        together[row] = text
        size += len(text)
        if size >= blocks.BLOCK_BYTES:
            body = blocks.pack(blocks.gather(together), None, level=blocks.QUICK_LEVEL)
            number = db.execute("INSERT INTO blocks (body) VALUES (?)", [body]).lastrowid
            assert number is not None
            block_of |= dict.fromkeys(together, number)
            together, size = {}, 0
    return block_of


def of(db: "Database", rows: Iterable[int]) -> dict[int, str]:
    """The texts of these memories; rows that are no memory are left out."""
    asked = json.dumps(list(rows))
    found: dict[int, str] = dict(
        db.execute(f"SELECT memory, text FROM texts WHERE memory IN {_ROWS}", [asked]).fetchall()
    )
    packed: dict[int, list[int]] = {}
    for row, block in db.execute(
        f"SELECT row, block FROM records WHERE row IN {_ROWS} AND block IS NOT NULL", [asked]
    ).fetchall():
        packed.setdefault(block, []).append(row)
    for block, content in _contents(db, packed).items():
        found |= blocks.opened(content).of(packed[block])
    return found


def loose(db: "Database", *, after_row: int) -> Iterator[tuple[int, int]]:
    """Rows of loose texts and their bytes, in row order: turns of one conversation mostly follow each other."""
    return iter(
        db.execute(
            "SELECT memory, octet_length(text) FROM texts WHERE memory > ? ORDER BY memory",
            [after_row],
        )
    )


def loose_amount(db: "Database") -> Amount:
    found = db.execute(
        "SELECT count(*), coalesce(sum(octet_length(text)), 0) FROM texts"
    ).fetchone()
    return Amount(*found)


def twins(db: "Database") -> list[list[int]]:
    """Loose memories that say exactly the same, as groups of rows."""
    found = db.execute(
        """SELECT json_group_array(row) FROM records WHERE block IS NULL GROUP BY digest HAVING count(*) > 1"""
    )
    return [sorted(json.loads(rows)) for (rows,) in found.fetchall()]


def open_head(db: "Database", *, led_max: int) -> Head | None:
    """The newest head that may take another block."""
    found = db.execute(
        """SELECT number, (SELECT count(*) FROM blocks AS led WHERE led.head = blocks.number) AS led FROM blocks
           WHERE head IS NULL AND led < ? ORDER BY number DESC LIMIT 1""",
        [led_max],
    ).fetchone()
    if found is None:
        return None
    number, led = found
    return Head(number, _contents(db, [number])[number], led)


def pack(db: "Database", texts: Mapping[int, str], body: bytes, *, head: int | None) -> int | None:
    """Move loose texts into a new block; its number, or None if one of them, or the head, is not there any more."""
    rows = json.dumps(list(texts))
    (there,) = db.execute(f"SELECT count(*) FROM texts WHERE memory IN {_ROWS}", [rows]).fetchone()
    if there != len(texts):
        return None
    if head is not None and not _exists(db, head):
        return None
    number = db.execute("INSERT INTO blocks (head, body) VALUES (?, ?)", [head, body]).lastrowid
    assert number is not None
    db.execute(f"UPDATE records SET block = ? WHERE row IN {_ROWS}", [number, rows])
    db.execute(f"DELETE FROM texts WHERE memory IN {_ROWS}", [rows])
    return number


def loosen(db: "Database", number: int) -> int:
    """Give the memories of a block, and of those that it heads, their loose texts back; how many there were."""
    led = [each for (each,) in db.execute("SELECT number FROM blocks WHERE head = ?", [number])]
    count = 0
    for content in _contents(db, [*led, number]).values():
        opened = blocks.opened(content)
        texts = opened.of(opened.every_row())
        put_many(db, texts.items())
        db.execute(
            f"UPDATE records SET block = NULL WHERE row IN {_ROWS}", [json.dumps(list(texts))]
        )
        count += len(texts)
    for block in [*led, number]:
        db.execute("DELETE FROM blocks WHERE number = ?", [block])
    return count


def loosen_of(db: "Database", row: int) -> None:
    """Make this memory's text a loose one, so that it can go alone."""
    (block,) = db.execute("SELECT block FROM records WHERE row = ?", [row]).fetchone()
    if block is not None:
        loosen(db, block)


def block_numbers(db: "Database") -> list[int]:
    """Heads last, so that loosening one at a time is a small step each."""
    found = db.execute("SELECT number FROM blocks ORDER BY head IS NULL, number")
    return [number for (number,) in found.fetchall()]


def bodies(db: "Database", rows: Iterable[int]) -> dict[int, bytes]:
    """The compressed blocks that these memories are in, or that cannot be read without them, by number."""
    found = db.execute(
        f"""WITH held (number) AS (SELECT DISTINCT block FROM records WHERE row IN {_ROWS})
            SELECT number, body FROM blocks
            WHERE number IN (SELECT number FROM held) OR head IN (SELECT number FROM held)""",
        [json.dumps(list(rows))],
    )
    return dict(found.fetchall())


def every(db: "Database") -> Iterator[tuple[int, str]]:
    """Every text that is stored, with the row number under which it is."""
    yield from db.execute("SELECT memory, text FROM texts")
    for number in block_numbers(db):
        opened = blocks.opened(_contents(db, [number])[number])
        yield from opened.of(opened.every_row()).items()


def _exists(db: "Database", number: int) -> bool:
    found = db.execute("SELECT 1 FROM blocks WHERE number = ?", [number]).fetchone()
    return found is not None


def _contents(db: "Database", numbers: Iterable[int]) -> dict[int, bytes]:
    """What blocks unpack to; each head is unpacked once."""
    asked = json.dumps(list(numbers))
    packed = db.execute(
        f"SELECT number, head, body FROM blocks WHERE number IN {_ROWS}", [asked]
    ).fetchall()
    heads = json.dumps(sorted({head for _, head, _ in packed if head is not None}))
    led_by: dict[int | None, bytes | None] = {
        number: blocks.content(body, None)
        for number, body in db.execute(
            f"SELECT number, body FROM blocks WHERE number IN {_ROWS}", [heads]
        )
    }
    led_by[None] = None
    return {number: blocks.content(body, led_by[head]) for number, head, body in packed}
