from sync_service.changes import merge, ops
from sync_service.changes.clock import Hlc
from sync_service.changes.fields import Field
from sync_service.changes.ops import Forget
from sync_service.device import log
from sync_service.members import amend, control
from sync_service.sealed import keys
from tests.sync.table_replica import TableReplica

NOW = 1_790_000_000_000
MEMORY = bytes(range(16))
_FOUND = amend.found(keys.recovery_seeds(bytes(16)), nonce=bytes(16))
TEXT = b"\xa3tea"


def _set_up() -> TableReplica:
    replica = TableReplica()
    with replica.transaction() as db:
        log.set_up(
            db,
            sign_seed=bytes(32),
            kem_seed=bytes(32),
            incarnation=1,
            entries=[_FOUND],
            now=control.begin(_FOUND),
            epoch_keys={1: bytes(32)},
        )
    return replica


def test_nothing_is_set_up_in_a_new_vault() -> None:
    assert not log.is_set_up(TableReplica().db)


def test_a_write_is_in_the_outbox_and_in_the_digest() -> None:
    replica = _set_up()
    replica.write(MEMORY, NOW, fields={Field.TEXT: TEXT})

    state = replica.states()[MEMORY]
    assert [ops.decode_op(op) for _, op in log.outbox(replica.db, 9)] == [
        ops.Set(MEMORY, Hlc(NOW << 16), {Field.TEXT: TEXT})
    ]
    assert int.from_bytes(log.digest(replica.db), "big") == merge.fingerprint(MEMORY, state)


def test_the_clock_never_stands_still_or_goes_back() -> None:
    replica = _set_up()
    with replica.transaction() as db:
        stamps = [log.stamp(db, now) for now in (NOW, NOW, NOW - 5, NOW + 1)]
    assert stamps == sorted(set(stamps))


def test_what_was_said_of_a_forgotten_memory_leaves_the_outbox() -> None:
    replica = _set_up()
    replica.write(MEMORY, NOW, fields={Field.TEXT: TEXT})
    replica.forget(MEMORY, NOW + 1)

    (op,) = [ops.decode_op(op) for _, op in log.outbox(replica.db, 9)]
    assert isinstance(op, Forget)
    expected = merge.fingerprint(MEMORY, merge.FORGOTTEN)
    assert int.from_bytes(log.digest(replica.db), "big") == expected


def test_an_alarm_counts_until_it_is_settled() -> None:
    replica = _set_up()
    with replica.transaction() as db:
        log.raise_alarm(db, "gap", "a", "Something is missing.", NOW)
        log.raise_alarm(db, "gap", "a", "Something is still missing.", NOW + 5)
        log.raise_alarm(db, "gap", "b", "Something else is missing.", NOW)
        log.settle(db, "gap", "b")
    (alarm,) = log.alarms(replica.db)
    assert (alarm.sentence, alarm.times) == ("Something is still missing.", 2)
    with replica.transaction() as db:
        log.settle(db, "gap")
    assert log.alarms(replica.db) == []


def test_leaving_keeps_nothing_of_sync_and_all_memories() -> None:
    replica = _set_up()
    replica.write(MEMORY, NOW, fields={Field.TEXT: TEXT})
    with replica.transaction() as db:
        log.leave(db)
    assert not log.is_set_up(replica.db)
    assert log.outbox_count(replica.db) == 0
    assert MEMORY in replica.states()
