"""Two vaults that sync without any network: what one has to say is carried to the other by hand."""

import os
from collections.abc import Sequence

from msgspec import structs

from mcp_server.device import Device
from mcp_server.model import Memory
from mcp_server.replica import Replica
from mcp_server.vault import states, store
from shared.ids import MemoryId
from sync_service.changes import merge
from sync_service.changes.merge import State
from sync_service.changes.ops import Op, decode_op
from sync_service.device import log
from sync_service.device.replica import Change, change
from sync_service.members import amend, control
from sync_service.sealed import keys

_FOUND = amend.found(keys.recovery_seeds(bytes(16)), nonce=bytes(16))

Carried = list[tuple[bytes, Op]]
"""Operations, each with the stream that it came on."""


def set_up(device: Device) -> None:
    """Begin to sync; the memories that are there are recorded."""
    with device.vault.writing() as db:
        log.set_up(
            db,
            sign_seed=os.urandom(32),
            kem_seed=os.urandom(32),
            incarnation=1,
            entries=[_FOUND],
            now=control.begin(_FOUND),
            epoch_keys={},
        )


def told(device: Device) -> Carried:
    """What this device has to tell, which it then has told."""
    with device.vault.writing() as db:
        stream, waiting = log.own_stream(db), log.outbox(db, 1_000_000)
        if waiting:
            log.take_out(db, waiting[-1][0])
    return [(stream, decode_op(raw)) for _, raw in waiting]


def hear(device: Device, carried: Sequence[tuple[bytes, Op]]) -> None:
    replica = Replica(device)
    with replica.transaction() as db:
        before = replica.load(db, {op.memory for _, op in carried})
        after = dict(before)
        latest: dict[bytes, int] = {}
        for stream, op in carried:
            after[op.memory] = merge.apply(after[op.memory], op, stream)
            latest[op.memory] = max(op.hlc, latest.get(op.memory, 0))
        changes: dict[bytes, Change] = {
            memory: change(before[memory], state, hlc=latest[memory])
            for memory, state in after.items()
            if state != before[memory]
        }
        replica.save(db, changes)
        log.follow(db, changes)


def exchange(one: Device, other: Device) -> None:
    """Each hears what the other has to tell; neither heard anything before it spoke."""
    from_one, from_other = told(one), told(other)
    hear(other, from_one)
    hear(one, from_other)


def states_of(device: Device) -> dict[bytes, State]:
    with device.vault.reading() as db:
        return dict(states.newest(db, None, 1_000_000))


def digest_of(device: Device) -> bytes:
    with device.vault.reading() as db:
        return log.digest(db)


def memories_of(device: Device) -> dict[MemoryId, Memory]:
    """All memories but for what each vault counts for itself: how often each was changed there."""
    with device.vault.reading() as db:
        rows = store.in_order(db, after=None, limit=1_000_000)
    return {row.memory.id: structs.replace(row.memory, version=1) for row in rows}
