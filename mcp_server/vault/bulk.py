"""Many new memories in a few statements: what another device has sent, by the thousand.

Their cues are not read here (a tenth of a millisecond each), nor their vectors made; both follow in the background.
"""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mcp_server.vault import texts
from mcp_server.vault.wire import Values
from sync_service.changes.fields import Field

if TYPE_CHECKING:
    from sqlite_utils import Database

_NAMES = (
    Field.SPACE,
    Field.SPEAKER,
    Field.CONVERSATION,
    Field.TRUST,
    Field.CLIENT,
    Field.TOOL,
)


class New(Struct, frozen=True, kw_only=True):
    id: bytes
    values: Values
    tags: Sequence[str]
    links: Sequence[tuple[str, bytes]]
    digest: bytes
    updated_ms: int
    version: int = 1


def insert(db: "Database", new: Sequence[New]) -> range:
    """Store new memories; their rows, in this order.

    Raises:
        sqlcipher3 IntegrityError: an id or a key is there already (callers look first, inside the transaction).
    """
    number = _numbers(db, {each.values[field] for each in new for field in _NAMES} - {None})
    # What AUTOINCREMENT would give next: a number is never used again.
    found = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'records'").fetchone()
    first = (found[0] if found else 0) + 1
    rows = range(first, first + len(new))
    said = {row: each.values[Field.TEXT] for row, each in zip(rows, new, strict=True)}
    block_of = texts.pack_new(db, said)
    db.conn.executemany(
        """INSERT INTO records (row, id, kind, space, occurred_ms, valid_from_ms, valid_to_ms, speaker, conversation,
               position, trust, client, tool, key, importance, pinned, archived, superseded_by, created_ms, version,
               updated_ms, digest, chars, question, block)
           VALUES (?, ?, ?, ?, nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), nullif(?, ''), ?,
               nullif(?, ''), nullif(?, ''), nullif(?, ''), ?, ?, ?, nullif(?, ''), ?, ?, ?, ?, ?, ?, nullif(?, ''))""",
        [
            _record(row, each, number, block_of.get(row, ""))
            for row, each in zip(rows, new, strict=True)
        ],
    )
    texts.put_many(db, [(row, text) for row, text in said.items() if row not in block_of])
    db.conn.executemany(
        "INSERT INTO tags (memory, tag) VALUES (?, ?)",
        [(row, tag) for row, each in zip(rows, new, strict=True) for tag in each.tags],
    )
    db.conn.executemany(
        "INSERT INTO links (memory, relation, target) VALUES (?, ?, ?)",
        [(row, *link) for row, each in zip(rows, new, strict=True) for link in each.links],
    )
    return rows


def _record(
    row: int, new: New, number: dict[str | None, int | str], block: int | str
) -> tuple[Any, ...]:
    # The driver takes a microsecond for each value that is None, bytes or a bool, and a tenth of that for any other.
    (_, text, kind, space, *times, speaker, conversation, position, trust, client, tool, key) = (
        new.values[: Field.KEY + 1]
    )
    importance, pinned, archived, superseded_by, created = new.values[Field.KEY + 1 :]
    occurred, valid_from, valid_to = times
    return (
        row,
        bytearray(new.id),
        kind,
        number[space],
        "" if occurred is None else occurred,
        "" if valid_from is None else valid_from,
        "" if valid_to is None else valid_to,
        number[speaker],
        number[conversation],
        "" if position is None else position,
        number[trust],
        number[client],
        number[tool],
        "" if key is None else bytearray(key),
        importance,
        1 if pinned else 0,
        1 if archived else 0,
        "" if superseded_by is None else bytearray(superseded_by),
        created,
        new.version,
        new.updated_ms,
        bytearray(new.digest),
        len(text),
        1 if "?" in text else 0,
        block,
    )


def _numbers(db: "Database", names: Iterable[str]) -> dict[str | None, int | str]:
    """The number of each name, given to it if it is new; no name has none."""
    asked = json.dumps(sorted(names))
    db.execute("INSERT OR IGNORE INTO names (name) SELECT value FROM json_each(?)", [asked])
    found = db.execute(
        "SELECT name, number FROM names WHERE name IN (SELECT value FROM json_each(?))", [asked]
    )
    return {None: "", **dict(found.fetchall())}
