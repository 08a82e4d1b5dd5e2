"""Forgetting is for ever, against everything; and so much at once that it may be a mistake is asked about first."""

import uuid

import pytest

from sync_service.changes import merge
from sync_service.changes.fields import Field
from sync_service.changes.ops import Forget
from sync_service.device import deciding, inbox, log, plan
from sync_service.steps import engine
from tests.sync.crashing import is_dying
from tests.sync.devices import Device, memory, pair, said, settle

HOUR_MS = 3_600_000


def _many(count: int) -> tuple[Device, Device]:
    first, second = pair()
    for number in range(count):
        first.write(number)
    settle([first, second])
    return first, second


def _kept(device: Device) -> list[bytes]:
    """What came back of the first fifty, in their order."""
    ids = [deciding.kept_id(memory(number)) for number in range(50)]
    states = device.replica.states()
    return [each for each in ids if each in states and not states[each].forgotten]


def test_a_forget_wins_over_an_edit_that_knew_nothing_of_it() -> None:
    first, second = _many(1)
    first.forget(0)
    second.time.pass_ms(HOUR_MS)
    second.write(0, "later, and still")
    settle([first, second])
    assert first.replica.states()[memory(0)].forgotten
    assert first.replica.states() == second.replica.states()


def test_nothing_of_a_forgotten_memory_stays_in_the_change_logs_tables() -> None:
    first, second = _many(1)
    second.write(0, "in conflict one")
    first.write(0, "in conflict two")
    settle([first, second])
    second.write(0, "unsent")
    first.forget(0)
    first.sync()
    second.line.before = lambda _: None
    settle([second])
    kept = b"".join(
        bytes(value)
        for (table,) in second.replica.db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall()
        for row in second.replica.db.execute(f"SELECT * FROM {table}").fetchall()
        for value in row
        if isinstance(value, bytes | str)
        for value in [value.encode() if isinstance(value, str) else value]
    )
    assert b"unsent" not in kept
    assert b"in conflict" not in kept


def test_much_forgotten_at_once_waits_for_a_yes_and_everything_else_flows() -> None:
    first, second = _many(100)
    for number in range(50):
        first.forget(number)
    first.write(200, "meanwhile")
    settle([first, second])
    assert second.text(7) == "tea"
    assert second.text(200) == "meanwhile"
    assert second.alarms() == {"many_forgotten"}
    assert inbox.held_forgets_count(second.replica.db) == 50
    deciding.let_forget(second.replica, second.now_ms)
    assert second.text(7) is None
    settle([first, second])
    assert first.digest() == second.digest()
    assert second.alarms() == set()


def test_a_no_brings_the_memories_back_everywhere_under_new_ids() -> None:
    first, second = _many(100)
    for number in range(50):
        first.forget(number)
    settle([first, second])
    assert deciding.keep(second.replica, second.now_ms) == 50
    settle([first, second])
    assert first.digest() == second.digest()
    assert _kept(first) == [deciding.kept_id(memory(number)) for number in range(50)]
    assert second.alarms() == set()


def test_two_devices_that_say_no_bring_a_memory_back_once() -> None:
    first, second = _many(100)
    third = Device(first.relay, first.time, 5).join()
    settle([first, second, third])
    for number in range(50):
        first.forget(number)
    settle([first, second, third])
    deciding.keep(second.replica, second.now_ms)
    third.time.pass_ms(10)
    deciding.keep(third.replica, third.now_ms)
    settle([first, second, third])
    assert first.digest() == second.digest() == third.digest()
    assert len(_kept(first)) == 50
    assert first.replica.count(first.replica.db) == 100
    assert log.in_conflict(first.replica.db, 5) == []


def test_a_late_no_leaves_what_another_device_brought_back_as_it_is() -> None:
    first, second = _many(100)
    third = Device(first.relay, first.time, 5).join()
    settle([first, second, third])
    for number in range(50):
        first.forget(number)
    settle([first, second, third])
    deciding.keep(second.replica, second.now_ms)
    edited = deciding.kept_id(memory(7))
    second.replica.write(edited, second.now_ms, fields={Field.TEXT: said("coffee")})
    settle([first, second, third])
    deciding.keep(third.replica, third.now_ms)
    settle([first, second, third])
    assert first.digest() == second.digest() == third.digest()
    assert first.replica.states()[edited].fields[Field.TEXT][2] == said("coffee")
    assert len(_kept(first)) == 50


def test_what_was_forgotten_again_comes_back_under_the_id_after() -> None:
    first, second = _many(100)
    for number in range(50):
        first.forget(number)
    second.replica.forget(deciding.kept_id(memory(7)), second.now_ms)
    settle([first, second])
    deciding.keep(second.replica, second.now_ms)
    again = deciding.kept_id(deciding.kept_id(memory(7)))
    assert Field.TEXT in second.replica.states()[again].fields


def test_the_id_of_what_comes_back_follows_from_the_old_one() -> None:
    old = uuid.UUID("0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20")
    new = uuid.UUID(bytes=deciding.kept_id(old.bytes))
    assert str(new) == "0199f2f4-9c1e-700c-ac95-904de20d2c65"
    assert (new.version, new.variant) == (7, uuid.RFC_4122)


def test_a_few_forgotten_memories_ask_nobody() -> None:
    first, second = _many(100)
    for number in range(19):
        first.forget(number)
    settle([first, second])
    assert first.digest() == second.digest()
    assert second.alarms() == set()


def test_little_by_little_within_an_hour_is_much_as_well() -> None:
    first, second = _many(100)
    for number in range(30):
        first.forget(number)
        settle([first, second], rounds=1)
    settle([first, second], rounds=2)
    assert second.alarms() == {"many_forgotten"}


def test_a_new_device_is_not_asked_about_what_was_forgotten_long_ago() -> None:
    first, second = _many(100)
    for number in range(50):
        first.forget(number)
    settle([first, second])
    newcomer = Device(first.relay, first.time, 5).join()
    settle([newcomer])
    assert newcomer.alarms() == set()
    assert newcomer.digest() == first.digest()


def test_the_measure_of_too_much() -> None:
    def weighed(before: int, more: int, present: int, quiet_ms: int = 60_000) -> str:
        return plan.weigh_forgets(before=before, more=more, present=present, quiet_ms=quiet_ms)

    assert weighed(0, 19, 19, 0) == "forget"
    assert weighed(0, 20, 99) == "ask"
    assert weighed(0, 20, 100) == "forget"
    assert weighed(0, 20, 100, 59_999) == "wait"
    assert weighed(0, 20, 100, -1) == "forget", "the clock was put back"
    assert weighed(10, 11, 90) == "ask"
    assert weighed(0, 500, 100_000) == "forget"
    assert weighed(0, 501, 100_000, 0) == "ask"


def test_the_first_pieces_of_much_wait_for_the_rest() -> None:
    first, second = _many(2_000)
    for piece in range(6):
        for number in range(100 * piece, 100 * (piece + 1)):
            first.forget(number)
        settle([first, second], rounds=1)
        assert second.replica.count(second.replica.db) == 2_000
    assert inbox.held_forgets_count(second.replica.db) == 600
    assert second.alarms() == {"many_forgotten"}


def test_what_is_neither_little_nor_much_is_forgotten_after_a_minute() -> None:
    first, second = _many(200)
    for number in range(30):
        first.forget(number)
    first.sync()
    assert second.sync().due_in_ms == plan.FORGETS_QUIET_MS
    assert second.text(7) == "tea"
    second.time.pass_ms(plan.FORGETS_QUIET_MS)
    assert second.sync().due_in_ms is None
    assert second.text(7) is None
    settle([first, second])
    assert first.digest() == second.digest()
    assert second.alarms() == set()


def test_what_is_kept_is_kept_in_both_versions() -> None:
    first, second = _many(50)
    third = Device(first.relay, first.time, 3).join()
    settle([first, second, third])
    first.write(7, "one text")
    third.write(7, "another text")
    settle([first, second, third])
    for number in range(50):
        first.forget(number)
    settle([first, second])
    deciding.keep(second.replica, second.now_ms)
    settle([second, first, third])
    kept = deciding.kept_id(memory(7))
    for device in (first, second, third):
        state = device.replica.states()[kept]
        ((field, (_, _, other)),) = merge.conflicts(state)
        assert {state.fields[field][2], other} == {said("one text"), said("another text")}
        assert kept in log.in_conflict(device.replica.db, 5)


@pytest.mark.parametrize("at", range(4))
def test_who_dies_on_the_way_counts_nothing_twice(at: int) -> None:
    first, second = _many(45)
    forgets = [
        (Forget(memory(number), 1), log.read(first.replica.db).stream) for number in range(15)
    ]
    with second.replica.transaction() as db:
        inbox.hold_forgets(db, forgets, second.now_ms)
    is_dying(second, at, lambda: deciding.weigh(second.replica, second.now_ms))
    assert deciding.weigh(second.replica, second.now_ms) is None
    assert second.alarms() == set()
    assert second.replica.count(second.replica.db) == 30
    assert log.read(second.replica.db).forgets == 15


def test_much_over_hours_counts_together_if_it_does_not_rest_for_one() -> None:
    first, second = _many(100)
    for number in range(30):
        first.forget(number)
        if number % 10 == 9:
            settle([first, second], rounds=2)
            first.time.pass_ms(HOUR_MS - 10_000)
    assert second.alarms() == {"many_forgotten"}
    assert second.replica.count(second.replica.db) == 90


def test_what_waits_for_a_yes_is_gone_if_it_is_forgotten_here() -> None:
    first, second = _many(100)
    for number in range(50):
        first.forget(number)
    settle([first, second])
    second.forget(7)
    assert inbox.held_forgets_count(second.replica.db) == 49
    assert log.in_conflict(second.replica.db, 5) == []


def test_all_of_much_waits_though_it_comes_in_several_batches_and_pages() -> None:
    first, second = _many(2_000)
    for piece in range(6):
        for number in range(100 * piece, 100 * (piece + 1)):
            first.forget(number)
        first.sync()
    first.relay.page_frames = 2
    settle([second], rounds=1)
    assert inbox.held_forgets_count(second.replica.db) == 600
    assert second.replica.count(second.replica.db) == 2_000
    assert [alarm.sentence[:50] for alarm in second.all_alarms()] == [
        "Another device forgot much at once: 600 memories. "
    ]


def test_what_one_command_forgets_in_pieces_travels_together() -> None:
    first, second = _many(2_000)
    first.time.pass_ms(HOUR_MS)
    sealed = 0
    for piece in range(10):
        for number in range(60 * piece, 60 * (piece + 1)):
            first.forget(number)
        first.time.pass_ms(220)
        sealed += engine.sync_once(first.engine).sealed
        second.sync()
    assert sealed == 0
    first.time.pass_ms(plan.FORGETS_REST_MS)
    assert engine.sync_once(first.engine).sealed == 1
    second.sync()
    assert inbox.held_forgets_count(second.replica.db) == 600


def test_nothing_waits_any_more_once_all_that_waited_was_forgotten_here() -> None:
    first, second = _many(100)
    for number in range(50):
        first.forget(number)
    settle([first, second])
    for number in range(50):
        second.forget(number)
    settle([first, second])
    assert second.alarms() == set()
    assert first.digest() == second.digest()
