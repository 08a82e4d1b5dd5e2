"""Killed anywhere: at every commit and on both sides of every request, one after another until a step gets through."""

import pytest

from shared.errors import UnavailableError
from sync_service.device import log
from sync_service.device.plan import DEBOUNCE_MS
from sync_service.steps import engine
from sync_service.transport import BusyError, QuotaError, TooLargeError
from tests.sync.crashing import is_dying
from tests.sync.devices import Device, memory, pair, settle
from tests.sync.fake_relay import Relay


def test_dying_at_any_point_of_sending_loses_and_doubles_nothing() -> None:
    at = 0
    died = True
    while died:
        first, second = pair()
        first.write(1, "tea", tags=["drink"])
        first.write(2, "coffee")
        died = is_dying(first, at)
        settle([first, second])
        assert second.text(1) == "tea", at
        assert second.text(2) == "coffee", at
        assert first.digest() == second.digest(), at
        assert first.alarms() | second.alarms() == set(), at
        at += 1
    assert at > 10


def test_dying_at_any_point_of_receiving_loses_and_doubles_nothing() -> None:
    at = 0
    died = True
    while died:
        first, second = pair(Relay(page_frames=1))
        for number in range(3):
            first.write(number)
            first.sync()
        died = is_dying(second, at)
        settle([first, second])
        assert len(second.replica.states()) == 3, at
        assert first.digest() == second.digest(), at
        assert second.alarms() == set(), at
        at += 1
    assert at > 10


def test_dying_at_any_point_of_going_on_after_a_copy_loses_nothing() -> None:
    at = 0
    died = True
    while died:
        first, second = pair()
        clone = Device(first.relay, first.time, 9)
        first.replica.db.conn.backup(clone.replica.db.conn)
        clone.line.device = first.line.device
        first.write(1, "one")
        clone.write(2, "two")
        first.sync()
        died = is_dying(clone, at)
        settle([first, clone, second])
        assert (second.text(1), second.text(2)) == ("one", "two"), at
        assert first.digest() == second.digest() == clone.digest(), at
        at += 1
    assert at > 10


def test_a_request_sent_again_is_the_same_to_the_last_byte() -> None:
    first, second = pair()

    def lose(name: str) -> None:
        if name in ("push", "pull"):
            raise UnavailableError("The answer is lost.")

    first.line.after = lose
    first.line.pushes.clear()
    first.write(1)
    for _ in range(3):
        assert first.sync().unavailable is not None
    assert len(first.line.pushes) == 3
    assert len(set(first.line.pushes)) == 1
    first.line.after = lambda _: None
    settle([first, second])
    assert second.text(1) == "tea"
    assert first.alarms() == set()


@pytest.mark.parametrize("fault", [UnavailableError, BusyError], ids=["down", "busy"])
def test_without_a_network_everything_waits(fault: type[UnavailableError]) -> None:
    first, second = pair()

    def cut(name: str) -> None:
        raise fault(f"No {name} now.")

    first.line.before = cut
    first.write(1)
    report = first.sync()
    assert report.unavailable == "No standing now."
    assert log.outbox_count(first.replica.db) == 1
    first.line.before = lambda _: None
    settle([first, second])
    assert second.text(1) == "tea"


def test_a_full_server_is_named_and_what_waits_is_sent_when_there_is_room() -> None:
    first, second = pair()

    def full(name: str) -> None:
        if name == "push":
            raise QuotaError("The server has no more room for this vault.")

    first.line.before = full
    first.write(1)
    first.sync()
    assert first.alarms() == {"quota"}
    first.line.before = lambda _: None
    settle([first, second])
    assert second.text(1) == "tea"
    assert first.alarms() == set()


def test_what_is_too_much_at_once_is_sent_in_parts() -> None:
    first, second = pair()
    for number in range(9):
        first.write(number)
        first.line.before = _offline_push
        first.sync()
    first.line.before = lambda _: None
    sent: list[int] = []
    push = first.line.push

    def small(batches: list[bytes]) -> object:
        sent.append(len(batches))
        if len(batches) > 2:
            raise TooLargeError("Less at once.")
        return push(batches)

    first.line.push = small  # type: ignore[method-assign, assignment]  # a server that takes less
    settle([first, second])
    assert max(size for size in sent if size <= 2) == 2
    assert len(second.replica.states()) == 9


def _offline_push(name: str) -> None:
    if name == "push":
        raise UnavailableError("Offline.")


PAGE = 4


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 1])
def test_no_batch_is_left_out_at_the_edge_of_a_page(count: int) -> None:
    first, second = pair(Relay(page_frames=PAGE))
    for number in range(count):
        first.write(number)
        first.sync()
    report = second.sync()
    assert report.pulled == count
    assert len(second.replica.states()) == count
    assert second.sync().pulled == 0


@pytest.mark.parametrize("size", [1, 1_000_000, 1_100_000])
def test_a_text_of_any_size_travels(size: int) -> None:
    first, second = pair()
    text = b"\xdb" + size.to_bytes(4, "big") + b"x" * size
    first.replica.write(memory(1), first.now_ms, fields={1: text})
    first.replica.write(memory(2), first.now_ms, fields={1: text})
    settle([first, second])
    assert second.replica.states() == first.replica.states()
    assert len(second.replica.states()) == 2


def test_two_devices_that_come_back_together_do_not_wait_for_each_other() -> None:
    first, second = pair()
    for number in range(20):
        first.write(number)
        second.write(100 + number)
    settle([second, first], rounds=3)
    assert first.digest() == second.digest()
    assert len(first.replica.states()) == 40


def test_what_is_written_quickly_travels_together() -> None:
    first, _ = pair()
    first.time.pass_ms(10_000)
    first.write(1)
    assert engine.sync_once(first.engine).sealed == 1, "the first at once"
    first.write(2)
    report = engine.sync_once(first.engine)
    assert (report.sealed, report.due_in_ms) == (0, DEBOUNCE_MS)
    first.time.pass_ms(DEBOUNCE_MS)
    first.write(3)
    assert engine.sync_once(first.engine).sealed == 1


def test_a_quiet_device_says_once_a_day_what_it_has_seen() -> None:
    first, second = pair()
    head = first.relay.head_pos
    for _ in range(48):
        first.time.pass_ms(3_600_000)
        first.sync()
        second.sync()
    assert 2 <= first.relay.head_pos - head <= 5
