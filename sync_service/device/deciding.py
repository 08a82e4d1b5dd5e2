"""A person's answer to what waits for one: memories that another device forgot, too many at once.

Forgetting cannot be undone, so a "no" keeps the memories under new ids: as such they go to all devices, also to the one that forgot them.
A new id follows from the old one, so that a memory comes back once, however many devices say no.
"""

import hashlib
from typing import TYPE_CHECKING

from sync_service.changes import merge
from sync_service.changes.merge import FORGOTTEN, State
from sync_service.changes.ops import Op, Set
from sync_service.device import inbox, log, plan, receive
from sync_service.device.replica import Change, Replica, change, is_new

if TYPE_CHECKING:
    from sqlite_utils import Database

_AT_ONCE = 1_024
_KEPT = b"sunaiva/kept/1"
_TIME_BYTES = 6  # of a UUIDv7


def weigh(replica: Replica, now_ms: int) -> int | None:
    """Everything that others have written is here: do what they forgot, or ask a person, if it is much. All of it at once, so that
    the first part of much does not pass for little. In how long to weigh again, if more may be to come."""
    with replica.transaction() as db:
        count = inbox.held_forgets_count(db)
        asked = [alarm.sentence for alarm in log.alarms(db) if alarm.kind == "many_forgotten"]
        if not count:
            if asked:  # what waited was forgotten here
                log.settle(db, "many_forgotten")
            return None
        me = log.read(db)
        is_lately = 0 <= now_ms - me.forgets_from_ms < plan.FORGETS_WINDOW_MS
        before = me.forgets if is_lately else 0
        quiet_ms = now_ms - inbox.forgets_held_ms(db)
        weighed = plan.weigh_forgets(
            before=before, more=count, present=replica.count(db), quiet_ms=quiet_ms
        )
        if asked or weighed == "ask":
            sentence = (
                f"Another device forgot much at once: {count} memories. Here they are kept until you say yes or no; everything "
                "else goes on."
            )
            if sentence not in asked:
                log.raise_alarm(db, "many_forgotten", "vault", sentence, now_ms)
            return None
        if weighed == "wait":
            return plan.FORGETS_QUIET_MS - quiet_ms
        log.write(db, forgets=before, forgets_from_ms=now_ms)
    _forget(replica)
    return None


def let_forget(replica: Replica, now_ms: int) -> int:
    """Yes: what the other device forgot is forgotten here; how many memories."""
    done = _forget(replica)
    with replica.transaction() as db:
        log.write(db, forgets=0, forgets_from_ms=now_ms)
        log.settle(db, "many_forgotten")
    return done


def kept_id(old: bytes) -> bytes:
    """Under which id a forgotten memory comes back: a UUIDv7 of the same time, the same on every device."""
    rest = bytearray(hashlib.sha256(_KEPT + old).digest()[: len(old) - _TIME_BYTES])
    rest[0] = rest[0] & 0x0F | 0x70
    rest[2] = rest[2] & 0x3F | 0x80
    return old[:_TIME_BYTES] + bytes(rest)


def keep(replica: Replica, now_ms: int) -> int:
    """No: every one of these memories is written once more, as a new one, unless another device has done so; how many."""
    done = 0
    while True:
        with replica.transaction() as db:
            memories = inbox.held_forgets(db, _AT_ONCE)
            if not memories:
                break
            states = replica.load(db, memories)
            stream = log.own_stream(db)
            written: list[Op] = []
            changes: dict[bytes, Change] = {}
            for old in memories:
                state = states[old]
                changes[old] = change(state, FORGOTTEN)
                new, there = _free(db, replica, old)
                if not is_new(there):
                    continue
                said = _anew(db, state, new, now_ms)
                after = merge.EMPTY
                for op in said:
                    after = merge.apply(after, op, stream)
                if said:
                    written += said
                    changes[new] = change(merge.EMPTY, after)
            replica.save(db, changes)
            log.record(db, written, changes)
            done += len(memories)
    let_forget(replica, now_ms)
    return done


def _anew(db: "Database", state: State, new: bytes, now_ms: int) -> list[Op]:
    """What makes a memory like this one under a new id, with the versions between which nobody has decided."""
    others = sorted({(field, value) for field, (_, _, value) in merge.conflicts(state)})
    said: list[Op] = [Set(new, log.stamp(db, now_ms), {field: value}) for field, value in others]
    return said + merge.edit(
        merge.EMPTY,
        new,
        log.stamp(db, now_ms),
        fields={field: value for field, (_, _, value) in state.fields.items()},
        tags=merge.present(state.tags),
        links=merge.present(state.links),
    )


def _free(db: "Database", replica: Replica, old: bytes) -> tuple[bytes, State]:
    """The first id after `old` that is not forgotten itself, and what is there."""
    new = kept_id(old)
    while (there := replica.load(db, [new])[new]).forgotten:
        new = kept_id(new)
    return new, there


def _forget(replica: Replica) -> int:
    done = 0
    while True:
        with replica.transaction() as db:
            memories = inbox.held_forgets(db, _AT_ONCE)
            if not memories:
                return done
            states = replica.load(db, memories)
            changes = {
                memory: change(states[memory], FORGOTTEN)
                for memory in memories
                if not states[memory].forgotten
            }
            receive.save(db, replica, changes)
            for memory in memories:
                log.purge(db, memory)
            # Here, and not before all of it: whoever dies on the way must not count any of it twice.
            log.write(db, forgets=log.read(db).forgets + len(memories))
            done += len(memories)
