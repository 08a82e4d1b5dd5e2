"""What somebody does to memories on this device, told to the others: every local write of a memory goes through here.

While sync is not set up this is the store and nothing else. Once it is, the same transaction that changes a memory records the
operations by which every other device comes to hold the same, so no write is ever acknowledged that would stay here.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from mcp_server.model import Memory
from mcp_server.vault import states, store, wire
from mcp_server.vault.store import Row
from shared.clock import Clock, from_ms, to_ms
from shared.ids import MemoryId
from sync_service.changes import merge
from sync_service.changes.clock import BELIEVED_MS_MAX, COUNTER_BITS, Hlc, milliseconds
from sync_service.changes.merge import FORGOTTEN, State
from sync_service.changes.ops import Forget, Op
from sync_service.device import log
from sync_service.device.replica import Change, change

if TYPE_CHECKING:
    from sqlite_utils import Database


def insert(clock: Clock, db: "Database", memory: Memory, digest: bytes) -> Row:
    """Store a new memory."""
    if not log.is_set_up(db):
        return Row(store.insert(db, memory, digest), memory)
    memory = _without_dead(db, memory)
    key = store.as_bytes(memory.id)
    state = states.load(db, [key])[key]
    is_new, age = state == merge.EMPTY, _age(memory)
    # As old as it is, which for an imported one may be years: what was said of it elsewhere since then counts more.
    stamp = age if is_new and age else log.stamp(db, to_ms(clock()))
    written = _whole(memory, state, stamp)
    dated = _dated(memory, written)
    if not is_new:
        states.drop_partial(db, [key])
    row = Row(store.insert(db, dated, digest), dated)
    _record(db, row, state, written)
    return row


def update(clock: Clock, db: "Database", row: Row, after: Memory) -> Row:
    """Write what may change about a memory; `row` is how it was."""
    if not log.is_set_up(db):
        store.update(db, row.row, after)
        return Row(row.row, after)
    after = _without_dead(db, after)
    key, before = store.as_bytes(after.id), row.memory
    state = states.load(db, [key])[key]  # first: its values are those of the record
    stamp = log.stamp(db, to_ms(clock()))
    if state == merge.EMPTY:  # stored before sync was set up, and not recorded yet
        written = _whole(after, state, stamp)
    else:
        written = merge.edit(
            state,
            key,
            stamp,
            fields=wire.changed_fields(before, after),
            tags=after.tags if after.tags != before.tags else None,
            links=wire.links(after) if after.links != before.links else None,
        )
    if not written:
        return row  # it is so already, as far as anybody sees
    changed = Row(row.row, _dated(after, written, since=before.updated_at))
    store.update(db, row.row, changed.memory)
    _record(db, changed, state, written)
    return changed


def forget(clock: Clock, db: "Database", memories: Iterable[MemoryId]) -> None:
    """Tell the others that these are forgotten; before they are erased here."""
    if not log.is_set_up(db):
        return
    keys = [store.as_bytes(each) for each in memories]
    stamp = log.stamp(db, to_ms(clock()))
    before = states.load(db, keys)
    states.bury(db, keys)
    log.record(
        db,
        [Forget(key, stamp) for key in keys],
        {key: change(before[key], FORGOTTEN) for key in keys},
    )


def is_dead(db: "Database", memory_id: MemoryId) -> bool:
    """Whether this was forgotten on a device of this vault since it syncs: then it does not come back, from an export either."""
    return bool(states.dead(db, [store.as_bytes(memory_id)]))


def seed(db: "Database", rows: Sequence[Row]) -> None:
    """Record memories from before sync was set up, as old as they are: what is said of them elsewhere since then counts more."""
    stream = log.own_stream(db)
    written: list[Op] = []
    made: dict[bytes, Change] = {}
    put: list[tuple[int, Change, wire.Fields]] = []
    for row in rows:
        key, memory = store.as_bytes(row.memory.id), row.memory
        said = _whole(memory, merge.EMPTY, _age(memory))
        after = merge.EMPTY
        for op in said:
            after = merge.apply(after, op, stream)
        written += said
        made[key] = change(merge.EMPTY, after)
        put.append((row.row, made[key], {}))
    states.put(db, put)
    log.record(db, written, made)


def _age(memory: Memory) -> Hlc:
    """As old as it says. An export may say any date; what no clock is believed to say counts as written long ago."""
    updated_ms = to_ms(memory.updated_at)
    return Hlc((updated_ms if 0 <= updated_ms <= BELIEVED_MS_MAX else 0) << COUNTER_BITS)


def _without_dead(db: "Database", memory: Memory) -> Memory:
    """Nothing points to what is forgotten, as on every other device."""
    targets = [link.target for link in memory.links]
    if memory.superseded_by is not None:
        targets.append(memory.superseded_by)
    dead = states.dead(db, [store.as_bytes(each) for each in targets]) if targets else set()
    if not dead:
        return memory
    superseded_by = memory.superseded_by
    if superseded_by is not None and store.as_bytes(superseded_by) in dead:
        superseded_by = None
    left = tuple(link for link in memory.links if store.as_bytes(link.target) not in dead)
    return msgspec.structs.replace(memory, links=left, superseded_by=superseded_by)


def _dated(memory: Memory, written: Sequence[Op], *, since: datetime | None = None) -> Memory:
    """The memory with the date that it has on all devices: that of what is written of it, or `since` if a clock is behind."""
    if not written:
        return memory
    updated_at = from_ms(milliseconds(Hlc(max(op.hlc for op in written))))
    return msgspec.structs.replace(memory, updated_at=max(updated_at, since or updated_at))


def _whole(memory: Memory, state: State, stamp: Hlc) -> list[Op]:
    """The operations that say all of a memory."""
    return merge.edit(
        state,
        store.as_bytes(memory.id),
        stamp,
        fields=wire.fields(memory, besides=state.fields),
        tags=memory.tags,
        links=wire.links(memory),
    )


def _record(db: "Database", row: Row, before: State, written: Sequence[Op]) -> None:
    stream = log.own_stream(db)
    after = before
    for op in written:
        after = merge.apply(after, op, stream)
    made = change(before, after)
    states.put(db, [(row.row, made, wire.kept(row.memory, after))])
    log.record(db, written, {store.as_bytes(row.memory.id): made})
