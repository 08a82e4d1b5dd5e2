"""A person's answer to what waits for one: memories that another device forgot, too many at once.

Forgetting cannot be undone, so a "no" keeps the memories under new ids: as such they go to all devices, also to the one that forgot them.
"""

from collections.abc import Callable

from sync_service import inbox, log, merge, receive
from sync_service.merge import FORGOTTEN
from sync_service.ops import Op
from sync_service.replica import Change, Replica, change

_AT_ONCE = 1_024


def let_forget(replica: Replica, now_ms: int) -> int:
    """Yes: what the other device forgot is forgotten here; how many memories."""
    done = 0
    while True:
        with replica.transaction() as db:
            memories = inbox.held_forgets(db, _AT_ONCE)
            if not memories:
                log.write(db, forgets=0, forgets_from_ms=now_ms)
                log.settle(db, "many_forgotten")
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
            done += len(memories)


def keep(replica: Replica, new_id: Callable[[], bytes], now_ms: int) -> int:
    """No: every one of these memories is written once more, as a new one; how many."""
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
                state, new = states[old], new_id()
                said = merge.edit(
                    merge.EMPTY,
                    new,
                    log.stamp(db, now_ms),
                    fields={field: value for field, (_, _, value) in state.fields.items()},
                    tags=merge.present(state.tags),
                    links=merge.present(state.links),
                )
                after = merge.EMPTY
                for op in said:
                    after = merge.apply(after, op, stream)
                if said:
                    written += said
                    changes[new] = change(merge.EMPTY, after)
                changes[old] = change(state, FORGOTTEN)
            replica.save(db, changes)
            log.record(db, written, changes)
            done += len(memories)
    let_forget(replica, now_ms)
    return done
