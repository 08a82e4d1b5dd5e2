"""The memories' own tables, one function for each question: SQL in here, values out. Permissions, findings and indexes ask theirs.

Functions take the `Database` of `OpenVault.reading` or `.writing`; none of them begins or commits anything.
Ids travel as canonical UUID strings outside and as 16 bytes inside.
"""

import json
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mcp_server import cues
from mcp_server.model import Kind, Link, Memory, Source
from mcp_server.vault import names, texts
from shared.clock import from_ms, to_ms
from shared.ids import MemoryId

if TYPE_CHECKING:
    from sqlite_utils import Database

_COLUMNS = """row, id, kind, space, occurred_ms, valid_from_ms, valid_to_ms, speaker, conversation, position,
    trust, client, tool, key, importance, pinned, archived, superseded_by, version, created_ms, updated_ms"""
# SQLite binds at most 32,766 variables in one statement; JSON carries any number of rows in one.
_ROWS = "row IN (SELECT value FROM json_each(?))"


class Row(Struct, frozen=True):
    """A memory and its row number, the name it has inside this one vault file."""

    row: int
    memory: Memory


class Selection(Struct, frozen=True, kw_only=True):
    """Which memories: every condition given must hold; `None` asks nothing."""

    spaces: tuple[str, ...] | None = None
    kinds: tuple[Kind, ...] | None = None
    tags: tuple[str, ...] | None = None
    """All of them."""
    conversation: str | None = None
    since: datetime | None = None
    """Happened (or else: was stored) at this instant or later."""
    until: datetime | None = None
    """Happened before this instant."""
    superseded: bool = False
    """Also what was superseded or archived."""


# --- writing -------------------------------------------------------------------------------------------------


def insert(db: "Database", memory: Memory, digest: bytes) -> int:
    """Store a new memory; its row number.

    Raises:
        sqlcipher3 IntegrityError: its id or its key is there already (callers look first, inside the transaction).
    """
    source = memory.source
    cursor = db.execute(
        """INSERT INTO records (id, kind, space, valid_from_ms, valid_to_ms, importance, pinned, archived, superseded_by,
               occurred_ms, speaker, conversation, position, trust, client, tool, key, version, created_ms, updated_ms, digest,
               cues, chars, question)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        [
            as_bytes(memory.id),
            *_changeable(db, memory),
            _ms(memory.occurred_at),
            names.number(db, memory.speaker),
            names.number(db, memory.conversation),
            memory.position,
            names.number(db, source.trust),
            names.number(db, source.client),
            names.number(db, source.tool),
            None if source.key is None else _key(source.key),
            memory.version,
            to_ms(memory.created_at),
            to_ms(memory.updated_at),
            digest,
            cues.flags(memory.text, memory.speaker, source.trust, memory.kind),
            len(memory.text),
            int("?" in memory.text),
        ],
    )
    row = cursor.lastrowid
    assert row is not None
    texts.put(db, row, memory.text)
    _put_sets(db, row, memory)
    return row


def update(db: "Database", row: int, memory: Memory) -> None:
    """Write everything about a memory that may change; text, source and place in a conversation never do."""
    named = names.of(db, [row])
    # Reading the cues takes longer than all else here, and of what they are made only the kind may change.
    kind, flags = db.execute("SELECT kind, cues FROM records WHERE row = ?", [row]).fetchone()
    if kind != memory.kind:
        flags = cues.flags(memory.text, memory.speaker, memory.source.trust, memory.kind)
    db.execute(
        """UPDATE records SET kind = ?, space = ?, valid_from_ms = ?, valid_to_ms = ?, importance = ?, pinned = ?,
               archived = ?, superseded_by = ?, version = ?, updated_ms = ?, cues = ? WHERE row = ?""",
        [
            *_changeable(db, memory),
            memory.version,
            to_ms(memory.updated_at),
            flags,
            row,
        ],
    )
    names.erase_unused(db, named - names.of(db, [row]))
    db.execute("DELETE FROM tags WHERE memory = ?", [row])
    db.execute("DELETE FROM links WHERE memory = ?", [row])
    _put_sets(db, row, memory)


def read_cues(db: "Database", *, limit: int) -> list[tuple[int, int]]:
    """Read the cues of some memories that were stored before there were any; their rows and cues, none when all are read."""
    unread = db.execute(
        "SELECT row, speaker, trust, kind FROM memories WHERE cues IS NULL ORDER BY row DESC LIMIT ?",
        [limit],
    ).fetchall()
    said = texts.of(db, [row for row, *_ in unread])
    read = [(row, cues.flags(said[row], *of)) for row, *of in unread]
    for row, flags in read:
        db.execute("UPDATE records SET cues = ? WHERE row = ?", [flags, row])
    return read


def forget_cues(db: "Database") -> None:
    """Have all cues read anew."""
    db.execute("UPDATE records SET cues = NULL")


def delete(db: "Database", row: int, memory_id: MemoryId) -> None:
    """Remove a memory with its text, tags, links, vector and findings, and other memories' links to it. Its names are for the
    caller to erase, once for all that it removes."""
    key = as_bytes(memory_id)
    texts.loosen_of(db, row)
    point_away(db, [key])
    db.execute("DELETE FROM findings WHERE first = ? OR second = ?", [key, key])
    db.execute("DELETE FROM records WHERE row = ?", [row])


def point_away(db: "Database", memories: Iterable[bytes]) -> None:
    """Let no memory point to these any more."""
    asked = [json.dumps([memory.hex() for memory in memories])]
    ids = "(SELECT unhex(value) FROM json_each(?))"
    db.execute(f"DELETE FROM links WHERE target IN {ids}", asked)
    db.execute(f"UPDATE records SET superseded_by = NULL WHERE superseded_by IN {ids}", asked)


def _changeable(db: "Database", memory: Memory) -> list[Any]:
    return [
        memory.kind,
        names.number(db, memory.space),
        _ms(memory.valid_from),
        _ms(memory.valid_to),
        memory.importance,
        int(memory.pinned),
        int(memory.archived),
        None if memory.superseded_by is None else as_bytes(memory.superseded_by),
    ]


def _put_sets(db: "Database", row: int, memory: Memory) -> None:
    for tag in memory.tags:
        db.execute("INSERT INTO tags (memory, tag) VALUES (?, ?)", [row, tag])
    for link in memory.links:
        db.execute(
            "INSERT INTO links (memory, relation, target) VALUES (?, ?, ?)",
            [row, link.relation, as_bytes(link.target)],
        )


# --- reading -------------------------------------------------------------------------------------------------


def by_id(db: "Database", memory_id: MemoryId) -> Row | None:
    found = _rows(db, f"SELECT {_COLUMNS} FROM memories WHERE id = ?", [as_bytes(memory_id)])
    return found[0] if found else None


def by_short_id(db: "Database", short: str) -> list[Row]:
    """The memories whose ids end so; nearly always one."""
    return _rows(
        db,
        f"SELECT {_COLUMNS} FROM memories WHERE substr(id, 12) = ?",
        [bytes.fromhex(short)],
    )


def by_key(db: "Database", key: str) -> Row | None:
    """The memory that a draft with this idempotency key became."""
    found = _rows(db, f"SELECT {_COLUMNS} FROM memories WHERE key = ?", [_key(key)])
    return found[0] if found else None


def by_echo(db: "Database", key: str) -> Row | None:
    """The memory that a draft with this idempotency key only repeated."""
    found = _rows(
        db,
        f"SELECT {_COLUMNS} FROM memories WHERE row = (SELECT memory FROM echoes WHERE key = ?)",
        [_key(key)],
    )
    return found[0] if found else None


def note_echo(db: "Database", key: str, row: int) -> None:
    db.execute("INSERT OR IGNORE INTO echoes (key, memory) VALUES (?, ?)", [_key(key), row])


def by_ids(db: "Database", ids: Iterable[MemoryId]) -> list[Row]:
    """Those of these memories that are there."""
    keys = json.dumps([as_bytes(each).hex() for each in ids])
    return _rows(
        db,
        f"SELECT {_COLUMNS} FROM memories WHERE id IN (SELECT unhex(value) FROM json_each(?))",
        [keys],
    )


def by_digest(db: "Database", digest: bytes, space: str) -> Row | None:
    """A present memory of the same words in this space that is not a turn of a conversation."""
    found = _rows(
        db,
        # Of the table itself, whose index is of what is in no conversation.
        f"""SELECT {_COLUMNS} FROM memories WHERE space = ? AND superseded_by IS NULL AND archived = 0
            AND row IN (SELECT row FROM records WHERE digest = ? AND conversation IS NULL) ORDER BY row LIMIT 1""",
        [space, digest],
    )
    return found[0] if found else None


def by_rows(db: "Database", rows: Iterable[int]) -> dict[int, Memory]:
    found = _rows(db, f"SELECT {_COLUMNS} FROM memories WHERE {_ROWS}", [json.dumps(list(rows))])
    return {item.row: item.memory for item in found}


def in_span(db: "Database", first: int, last: int) -> list[Row]:
    """The memories from one row number to another, both included."""
    sql = f"SELECT {_COLUMNS} FROM memories WHERE row BETWEEN ? AND ? ORDER BY row"
    return _rows(db, sql, [first, last])


def newest_row(db: "Database") -> int:
    """The highest row number; 0 in an empty vault."""
    (row,) = db.execute("SELECT coalesce(max(row), 0) FROM records").fetchone()
    return int(row)


def superseded_chain(db: "Database", memory_id: MemoryId) -> list[Row]:
    """What a memory superseded, and what that had superseded, oldest last; without the memory itself."""
    return _rows(
        db,
        f"""WITH RECURSIVE older (id) AS (
                VALUES (?) UNION SELECT records.id FROM records JOIN older ON records.superseded_by = older.id)
            SELECT {_COLUMNS} FROM memories WHERE id IN (SELECT id FROM older) AND id <> ? ORDER BY row DESC""",
        [as_bytes(memory_id), as_bytes(memory_id)],
    )


def page(db: "Database", selection: Selection, *, before: MemoryId | None, limit: int) -> list[Row]:
    """The newest first, below the id `before`; by id, so that it is one order on all devices of the vault."""
    where, values = _where(selection)
    if before is not None:
        where.append("id < ?")
        values.append(as_bytes(before))
    chosen = " AND ".join(where) or "1"
    sql = f"SELECT {_COLUMNS} FROM memories WHERE {chosen} ORDER BY id DESC LIMIT ?"
    return _rows(db, sql, [*values, limit])


def in_order(db: "Database", *, after: MemoryId | None, limit: int) -> list[Row]:
    """Every memory by id, for exports: the order does not depend on when this vault learned of them."""
    start = b"" if after is None else as_bytes(after)
    return _rows(
        db, f"SELECT {_COLUMNS} FROM memories WHERE id > ? ORDER BY id LIMIT ?", [start, limit]
    )


def conversation_turns(db: "Database", conversation: str, *, limit: int) -> list[Row]:
    """The turns of a conversation in order; of each space that has one of this name, one space after the other."""
    return _rows(
        db,
        f"SELECT {_COLUMNS} FROM memories WHERE conversation = ? ORDER BY space, position, row LIMIT ?",
        [conversation, limit],
    )


def next_position(db: "Database", conversation: str, space: str) -> int:
    (last,) = db.execute(
        "SELECT max(position) FROM memories WHERE conversation = ? AND space = ?",
        [conversation, space],
    ).fetchone()
    return 0 if last is None else last + 1


def rows_with_tags(db: "Database", tags: Sequence[str]) -> list[int]:
    """Rows that carry all of these tags."""
    found = db.execute(
        """SELECT memory FROM tags WHERE tag IN (SELECT value FROM json_each(?))
           GROUP BY memory HAVING count(*) = ?""",
        [json.dumps(sorted(set(tags))), len(set(tags))],
    )
    return [row for (row,) in found]


def pinned(db: "Database", spaces: tuple[str, ...] | None, *, limit: int) -> list[Row]:
    """What is pinned and not superseded or archived, the newest first."""
    where, values = _where(Selection(spaces=spaces))
    chosen = " AND ".join(["pinned = 1", *where])
    sql = f"SELECT {_COLUMNS} FROM memories WHERE {chosen} ORDER BY id DESC LIMIT ?"
    return _rows(db, sql, [*values, limit])


def happening(
    db: "Database",
    spaces: tuple[str, ...] | None,
    *,
    since: datetime,
    until: datetime,
    limit: int,
) -> list[Row]:
    """What is no turn, happens in this time, and is not superseded or archived; the first to happen first."""
    where, values = _where(Selection(spaces=spaces))
    chosen = " AND ".join(["kind <> 'turn'", "occurred_ms >= ?", "occurred_ms < ?", *where])
    sql = f"SELECT {_COLUMNS} FROM memories WHERE {chosen} ORDER BY occurred_ms LIMIT ?"
    return _rows(db, sql, [to_ms(since), to_ms(until), *values, limit])


def rows_with_cues(
    db: "Database", flags: int, kind: Kind | None, spaces: tuple[str, ...] | None, *, among: int
) -> list[int]:
    """Rows with any of these cues, or of this kind, that are not superseded or archived; of the last `among` rows, the newest first."""
    where, values = _where(Selection(spaces=spaces))
    chosen = " AND ".join(["row > (SELECT max(row) FROM records) - ?", *where])
    found = db.execute(
        f"SELECT row FROM memories WHERE {chosen} AND (cues & ? OR kind IS ?) ORDER BY row DESC",
        [among, *values, flags, kind],
    )
    return [row for (row,) in found]


def count(db: "Database", selection: Selection | None = None) -> int:
    if selection is None:
        (number,) = db.execute("SELECT count(*) FROM records").fetchone()
        return int(number)
    where, values = _where(selection)
    chosen = " AND ".join(where) or "1"
    (number,) = db.execute(f"SELECT count(*) FROM memories WHERE {chosen}", values).fetchone()
    return int(number)


def all_rows(db: "Database") -> set[int]:
    return {row for (row,) in db.execute("SELECT row FROM records")}


class SpaceCount(Struct, frozen=True):
    space: str
    memories: int
    newest: datetime


def spaces(db: "Database") -> list[SpaceCount]:
    found = db.execute(
        """SELECT name, memories, newest_ms FROM names JOIN
               (SELECT space, count(*) AS memories, max(updated_ms) AS newest_ms FROM records GROUP BY space) ON number = space
           ORDER BY name"""
    )
    return [SpaceCount(space, number, from_ms(newest)) for space, number, newest in found]


def space_names(db: "Database") -> list[str]:
    found = db.execute("SELECT name FROM names WHERE number IN (SELECT space FROM records)")
    return [space for (space,) in found]


def _where(selection: Selection) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    values: list[Any] = []
    for column, chosen in (("space", selection.spaces), ("kind", selection.kinds)):
        if chosen is not None:
            where.append(f"{column} IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(list(chosen)))
    for tag in selection.tags or ():
        where.append("row IN (SELECT memory FROM tags WHERE tag = ?)")
        values.append(tag)
    if selection.conversation is not None:
        where.append("conversation = ?")
        values.append(selection.conversation)
    if selection.since is not None:
        where.append("coalesce(occurred_ms, created_ms) >= ?")
        values.append(to_ms(selection.since))
    if selection.until is not None:
        where.append("coalesce(occurred_ms, created_ms) < ?")
        values.append(to_ms(selection.until))
    if not selection.superseded:
        where.append("superseded_by IS NULL AND archived = 0")
    return where, values


def _rows(db: "Database", sql: str, values: Sequence[Any]) -> list[Row]:
    records = db.execute(sql, list(values)).fetchall()
    if not records:
        return []
    numbers = json.dumps([record[0] for record in records])
    tags: dict[int, list[str]] = {}
    for row, tag in db.execute(
        "SELECT memory, tag FROM tags WHERE memory IN (SELECT value FROM json_each(?)) ORDER BY tag",
        [numbers],
    ):
        tags.setdefault(row, []).append(tag)
    links: dict[int, list[Link]] = {}
    for row, relation, target in db.execute(
        """SELECT memory, relation, target FROM links WHERE memory IN (SELECT value FROM json_each(?))
           ORDER BY relation, target""",
        [numbers],
    ):
        links.setdefault(row, []).append(Link(relation, as_id(target)))
    said = texts.of(db, [record[0] for record in records])
    return [_row(record, said[record[0]], tags, links) for record in records]


def _row(
    record: Sequence[Any], text: str, tags: dict[int, list[str]], links: dict[int, list[Link]]
) -> Row:
    (
        row,
        key,
        kind,
        space,
        occurred,
        valid_from,
        valid_to,
        speaker,
        conversation,
        position,
    ) = record[:10]
    (trust, client, tool, source_key, importance, pinned, archived, superseded_by, version) = (
        record[10:19]
    )
    created, updated = record[19:]
    return Row(
        row,
        Memory(
            id=as_id(key),
            text=text,
            source=Source(
                trust=trust,
                client=client,
                tool=tool,
                key=None if source_key is None else source_key.hex(),
            ),
            kind=kind,
            space=space,
            tags=tuple(tags.get(row, ())),
            links=tuple(links.get(row, ())),
            occurred_at=_moment(occurred),
            valid_from=_moment(valid_from),
            valid_to=_moment(valid_to),
            speaker=speaker,
            conversation=conversation,
            position=position,
            importance=importance,
            pinned=bool(pinned),
            archived=bool(archived),
            superseded_by=None if superseded_by is None else as_id(superseded_by),
            version=version,
            created_at=from_ms(created),
            updated_at=from_ms(updated),
        ),
    )


def as_bytes(memory_id: MemoryId) -> bytes:
    return uuid.UUID(memory_id).bytes


def as_id(key: bytes) -> MemoryId:
    digits = key.hex()  # six times as fast as `uuid.UUID` is
    return MemoryId(f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")


def _key(key: str) -> bytes:
    return bytes.fromhex(names.short_key(key))


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_ms(milliseconds)
