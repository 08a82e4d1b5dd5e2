"""What devices have agreed on about each memory, beside the memory itself: SQL in here, states out.

The values of a state are the memory's record and text; what stands in `sync_states` are their clocks, and the few values that the
record does not hold as they came. A forgotten memory is an id; one whose text is still on the way is a whole state of its own.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from mcp_server.vault import texts, wire
from mcp_server.vault.wire import Fields
from sync_service.changes import merge
from sync_service.changes.fields import Field
from sync_service.changes.merge import EMPTY, FORGOTTEN, State
from sync_service.device.replica import Change

if TYPE_CHECKING:
    from sqlite_utils import Database

_IDS = "(SELECT unhex(value) FROM json_each(?))"
# In the order of the fields' numbers, from the kind on; the text stands elsewhere.
_VALUES = """kind, space, occurred_ms, valid_from_ms, valid_to_ms, speaker, conversation, position, trust, client, tool, key,
    importance, pinned, archived, superseded_by, created_ms"""
_TABLES = (
    "records WHERE EXISTS (SELECT 1 FROM sync_states WHERE memory = row) AND",
    "sync_forgotten WHERE",
    "sync_partial WHERE",
)
# In place of a rival's value that is the one which is shown; no value is written so.
_SAME = b""
_KEPT = msgspec.msgpack.Decoder(dict[int, bytes])
_encode = msgspec.msgpack.Encoder().encode


def load(db: "Database", memories: Collection[bytes]) -> dict[bytes, State]:
    """The state of each of these; `EMPTY` of one that is not known, or was stored before sync was set up."""
    asked = _asked(memories)
    found: dict[bytes, State] = dict.fromkeys(memories, EMPTY)
    rows = db.execute(f"SELECT row FROM records WHERE id IN {_IDS}", [asked]).fetchall()
    if rows:
        found |= _of_rows(db, [row for (row,) in rows])
    # Mostly there are none of these.
    for memory, state in db.execute(
        f"SELECT id, state FROM sync_partial WHERE EXISTS (SELECT 1 FROM sync_partial) AND id IN {_IDS}",
        [asked],
    ).fetchall():
        found[memory] = merge.decode(state)
    for memory in _dead(db, asked):
        found[memory] = FORGOTTEN
    return found


def _of_rows(db: "Database", rows: Sequence[int]) -> dict[bytes, State]:
    records = db.execute(
        f"""SELECT memories.row, id, clocks, kept, {_VALUES} FROM memories JOIN sync_states ON memory = memories.row
            WHERE memories.row IN (SELECT value FROM json_each(?))""",
        [json.dumps(rows)],
    ).fetchall()
    said = texts.of(db, [record[0] for record in records])
    return {
        memory: _state(clocks, kept, [None, said[row], *values])
        for row, memory, clocks, kept, *values in records
    }


def put(db: "Database", states: Iterable[tuple[int, Change, Fields]]) -> None:
    """States of memories, by row: their clocks, and what their records do not hold."""
    db.conn.executemany(
        # As in `bulk`, no None and no bytes, which the driver is slow with.
        """INSERT INTO sync_states (memory, clocks, kept) VALUES (?, ?, nullif(?, ''))
           ON CONFLICT (memory) DO UPDATE SET clocks = excluded.clocks, kept = excluded.kept""",
        [
            (row, bytearray(_clocks(change)), bytearray(_encode(kept)) if kept else "")
            for row, change, kept in states
        ],
    )


def keep(db: "Database", row: int, field: Field, raw: bytes) -> None:
    """Remember of a memory's field what its record does not hold any more."""
    found = db.execute("SELECT kept FROM sync_states WHERE memory = ?", [row]).fetchone()
    if found is not None:  # or it was stored before sync was set up
        _put_kept(db, row, _kept(found[0]) | {int(field): raw})


def let_go(db: "Database", memories: Collection[bytes]) -> list[int]:
    """Before nothing points to these any more: the rows of those that they superseded. Their states go on saying so, their records
    will not."""
    found = db.execute(
        f"SELECT row, superseded_by FROM records WHERE superseded_by IN {_IDS}", [_asked(memories)]
    ).fetchall()
    for row, successor in found:
        keep(db, row, Field.SUPERSEDED_BY, _encode(successor))
    return [row for row, _ in found]


def hand_on(db: "Database", key: str | None) -> None:
    """After its bearer is gone, or bears another: give an idempotency key to the first of those that should have it and do not."""
    if key is None or bearers(db, [bytes.fromhex(key)]):
        return
    wanted = bytes.fromhex(key)
    found = db.execute(
        "SELECT id, row, kept FROM sync_states JOIN records ON row = memory WHERE kept IS NOT NULL"
    )
    waiting = [
        (memory, row, others)
        for memory, row, held in found.fetchall()
        if (others := _kept(held)).get(Field.KEY) == _encode(wanted)
    ]
    if waiting:
        _, row, others = min(waiting, key=lambda each: each[0])
        db.execute("UPDATE records SET key = ? WHERE row = ?", [wanted, row])
        _put_kept(db, row, {field: raw for field, raw in others.items() if field != Field.KEY})


def bearers(db: "Database", keys: Iterable[bytes]) -> dict[bytes, bytes]:
    """Who has these idempotency keys: ids by key."""
    found = db.execute(f"SELECT key, id FROM records WHERE key IN {_IDS}", [_asked(keys)])
    return dict(found.fetchall())


def borne(db: "Database", memories: Iterable[bytes]) -> dict[bytes, str]:
    """The idempotency keys that these have: keys by id."""
    found = db.execute(
        f"SELECT id, key FROM records WHERE key IS NOT NULL AND id IN {_IDS}", [_asked(memories)]
    )
    return {memory: key.hex() for memory, key in found.fetchall()}


def take_key(db: "Database", memory: bytes) -> None:
    """Take a memory's idempotency key from it, for one that comes before it; its state goes on saying that it should have it."""
    row, key = db.execute("SELECT row, key FROM records WHERE id = ?", [memory]).fetchone()
    keep(db, row, Field.KEY, _encode(key))
    db.execute("UPDATE records SET key = NULL WHERE row = ?", [row])


def bury(db: "Database", memories: Collection[bytes]) -> None:
    """From now on these are dead; their records are for the caller to erase."""
    ids = [(memory,) for memory in memories]
    db.conn.executemany("INSERT OR IGNORE INTO sync_forgotten (id) VALUES (?)", ids)
    drop_partial(db, memories)


def dead(db: "Database", memories: Collection[bytes]) -> set[bytes]:
    """Which of these were forgotten, on whatever device."""
    return _dead(db, _asked(memories))


def put_partial(db: "Database", memory: bytes, state: State) -> None:
    db.execute(
        """INSERT INTO sync_partial (id, state) VALUES (?, ?)
           ON CONFLICT (id) DO UPDATE SET state = excluded.state""",
        [memory, merge.encode(state)],
    )


def drop_partial(db: "Database", memories: Collection[bytes]) -> None:
    if db.execute("SELECT 1 FROM sync_partial LIMIT 1").fetchone() is not None:
        db.execute(f"DELETE FROM sync_partial WHERE id IN {_IDS}", [_asked(memories)])


def unrecorded(db: "Database", most: int, *, among: Collection[bytes] | None = None) -> list[int]:
    """Rows of memories that have no state because they were stored before sync was set up, the newest first."""
    which, values = "", []
    if among is not None:
        which, values = f"AND id IN {_IDS}", [_asked(among)]
    found = db.execute(
        f"""SELECT row FROM records WHERE NOT EXISTS (SELECT 1 FROM sync_states WHERE memory = row) {which}
            ORDER BY row DESC LIMIT ?""",
        [*values, most],
    )
    return [row for (row,) in found.fetchall()]


def newest(db: "Database", after: bytes | None, most: int) -> Sequence[tuple[bytes, State]]:
    """All states, from the greatest id down; below `after`."""
    bound = b"\xff" * 17 if after is None else after
    # A limit in each arm, so that none of them is read to its end.
    arm = "SELECT * FROM (SELECT id FROM {} id < ?1 ORDER BY id DESC LIMIT ?2)"
    arms = " UNION ALL ".join(arm.format(table) for table in _TABLES)
    ids = [
        memory
        for (memory,) in db.execute(f"{arms} ORDER BY id DESC LIMIT ?2", [bound, most]).fetchall()
    ]
    found = load(db, ids)
    return [(memory, found[memory]) for memory in ids]


def clear(db: "Database") -> None:
    """Nothing is agreed on with anybody any more; the memories stay, and what was forgotten does not come back."""
    for table in ("sync_states", "sync_partial"):
        db.execute(f"DELETE FROM {table}")


def _dead(db: "Database", asked: str) -> set[bytes]:
    found = db.execute(
        f"SELECT id FROM sync_forgotten WHERE EXISTS (SELECT 1 FROM sync_forgotten) AND id IN {_IDS}",
        [asked],
    )
    return {memory for (memory,) in found.fetchall()}


def _state(clocks: bytes, held: bytes | None, values: Sequence[Any]) -> State:
    others = _kept(held)

    def value_of(number: int) -> bytes:
        return others[number] if number in others else wire.encoded(number, values[number])

    state = merge.with_values(clocks, value_of)
    if not any(value == _SAME for _, (_, _, value) in state.rivals):
        return state
    return _with_rivals(state, lambda said, shown: shown if said == _SAME else said)


def _clocks(change: Change) -> bytes:
    """Its clocks, without a copy of a text that stands in the memory: two devices may have taken in the same export."""
    state = change.after
    if not any(value == state.fields[field][2] for field, (_, _, value) in state.rivals):
        return change.clocks
    return merge.clocks(_with_rivals(state, lambda said, shown: _SAME if said == shown else said))


def _with_rivals(state: State, value_of: Callable[[bytes, bytes], bytes]) -> State:
    return msgspec.structs.replace(
        state,
        rivals=frozenset(
            (field, (hlc, stream, value_of(value, state.fields[field][2])))
            for field, (hlc, stream, value) in state.rivals
        ),
    )


def _put_kept(db: "Database", row: int, others: Fields) -> None:
    held = _encode(others) if others else None
    db.execute("UPDATE sync_states SET kept = ? WHERE memory = ?", [held, row])


def _kept(held: bytes | None) -> Fields:
    return {} if held is None else _KEPT.decode(held)


def _asked(memories: Iterable[bytes]) -> str:
    return json.dumps([memory.hex() for memory in memories])
