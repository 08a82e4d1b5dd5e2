"""Memories from before sync was set up: they are recorded piece by piece, as if they were written now, until there are none."""

from typing import TYPE_CHECKING

from sync_service.changes import merge
from sync_service.changes.ops import Op
from sync_service.device import log
from sync_service.device.log import Self
from sync_service.device.replica import Change, Replica, change

if TYPE_CHECKING:
    from sqlite_utils import Database

SEEDED_AT_ONCE = 2_048


def record_earlier(db: "Database", replica: Replica, me: Self, now_ms: int) -> None:
    """Record some of them, unless there is enough to send already."""
    if not me.seeding or log.outbox_count(db) >= SEEDED_AT_ONCE:
        return
    earlier = replica.unrecorded(db, SEEDED_AT_ONCE)
    if not earlier:
        log.write(db, seeding=0)
        return
    hlc = log.stamp(db, now_ms)
    states = replica.load(db, [one.memory for one in earlier])
    said: list[Op] = []
    changes: dict[bytes, Change] = {}
    for one in earlier:
        before = after = states[one.memory]
        written = merge.edit(
            before, one.memory, hlc, fields=one.fields, tags=one.tags, links=one.links
        )
        for op in written:
            after = merge.apply(after, op, me.stream)
        said += written
        changes[one.memory] = change(before, after)
    replica.save(db, changes)
    log.record(db, said, changes)
