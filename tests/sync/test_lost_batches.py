"""A relay that says it has a batch, and has lost it: whoever wrote it is the only one who can find that out and give it back."""

from collections.abc import Callable

import pytest

from shared.errors import UnavailableError
from sync_service.device import log, membership
from sync_service.sealed import frames
from sync_service.steps import engine
from sync_service.transport import UnreadableAnswerError
from tests.sync.devices import Device, pair, settle

HOUR_MS = 3_600_000


def _loses_wholly(device: Device, number: int) -> None:
    """Nothing of it is left."""
    line, relay = device.line, device.relay
    line._store = lambda frame, *, is_new: (frame.header.seq, 1)  # type: ignore[method-assign]  # what a test is for
    before = dict(relay.heads)
    device.write(number)
    device.sync()
    relay.heads = before
    del line.__dict__["_store"]


def _loses_and_counts(device: Device, number: int) -> None:
    """It goes on saying that it has it."""
    device.line._store = lambda frame, *, is_new: (frame.header.seq, 1)  # type: ignore[method-assign]  # what a test is for
    device.write(number)
    device.sync()
    del device.line.__dict__["_store"]


def test_a_batch_that_was_acknowledged_and_lost_is_sent_again() -> None:
    first, second = pair()
    _loses_wholly(first, 1)
    lost = first.line.pushes[-1]
    report = first.sync()
    assert {(one.kind, one.subject) for one in report.alarms} == {
        ("rolled_back", frames.parse(lost).header.stream.hex())
    }
    assert first.line.pushes[-1] == lost, "the very bytes"
    settle([first, second])
    assert second.text(1) == "tea"
    assert first.digest() == second.digest()
    assert first.alarms() == second.alarms() == set()


def test_others_that_wait_for_a_lost_batch_go_on() -> None:
    first, second = pair()
    _loses_and_counts(first, 1)
    first.line.before = _only_sending
    first.write(2)
    first.sync()
    first.line.before = lambda _: None
    second.sync()
    assert "reordered" in second.alarms()
    _hours([first, second], 60)
    assert (second.text(1), second.text(2)) == ("tea", "tea")
    assert first.digest() == second.digest()
    assert first.alarms() == second.alarms() == set()


@pytest.mark.parametrize("lose", [_loses_wholly, _loses_and_counts])
def test_nobody_waits_for_ever_for_what_a_relay_lost(
    lose: Callable[[Device, int], None],
) -> None:
    first, second = pair()
    third = Device(first.relay, first.time, 3).join()
    settle([first, second, third])
    lose(first, 1)
    third.write(3)
    first.write(2)
    _hours([first, second, third], 60)
    first.write(4)
    settle([first, second, third])
    for device in (second, third):
        assert [device.text(number) for number in (1, 2, 3, 4)] == ["tea"] * 4
    assert first.alarms() == second.alarms() == third.alarms() == set()


def test_who_waits_for_a_batch_lost_for_ever_still_gives_what_only_it_has() -> None:
    first, second = pair()
    gone, lost = (Device(first.relay, first.time, seed).join() for seed in (3, 4))
    everybody = [first, second, gone, lost]
    settle(everybody)
    _loses_and_counts(lost, 1)
    lost.line.before = _only_sending
    lost.write(2)
    lost.sync()
    before = first.relay.backup()
    gone.write(3)
    gone.sync()
    first.sync()
    first.relay.restore(before)
    _hours([first, second], 30)
    assert "reordered" in first.alarms(), "what the lost device sent is nowhere"
    newcomer = Device(first.relay, first.time, 5).join()
    _hours([first, second, newcomer], 3)
    assert [device.text(3) for device in (first, second, newcomer)] == ["tea"] * 3
    assert "reordered" in newcomer.alarms(), "it knows that something is missing, too"


def test_what_is_said_to_be_stored_and_never_shown_is_not_sent_for_ever() -> None:
    first, second = pair()
    _loses_and_counts(first, 1)
    for _ in range(10):
        first.sync()
        first.time.pass_ms(3_000)
    assert len(first.line.pushes) == len(set(first.line.pushes)) + 1
    assert first.alarms() == {"rolled_back"}
    first.write(2)
    first.sync()
    second.sync()
    assert first.relay.log[-1][1] == first.line.pushes[-1], "what is written later still goes out"


def test_a_batch_lost_from_the_middle_of_a_push_stops_nothing() -> None:
    first, second = pair()
    whole = first.line._store
    first.line.before = _nothing_goes_out
    for number in range(3):
        first.write(number)
        first.sync()
    first.line.before = lambda _: None
    seqs: list[int] = []

    def store(frame: frames.Frame, *, is_new: bool) -> tuple[int, int]:
        seqs.append(frame.header.seq)
        return (frame.header.seq, 1) if len(seqs) == 2 else whole(frame, is_new=is_new)

    first.line._store = store  # type: ignore[method-assign]  # what a test is for
    first.sync()
    assert len(seqs) == 3
    del first.line.__dict__["_store"]
    _hours([first, second], 60)
    first.write(9)
    settle([first, second])
    assert [second.text(number) for number in (0, 1, 2, 9)] == ["tea"] * 4
    assert first.alarms() == second.alarms() == set()


def _hours(devices: list[Device], count: int) -> None:
    for _ in range(count):
        for device in devices:
            device.sync()
            engine.keep_house(device.engine)
        devices[0].time.pass_ms(HOUR_MS)


def _nothing_goes_out(name: str) -> None:
    if name == "push":
        raise UnavailableError("No way there.")


def _only_sending(name: str) -> None:
    if name == "pull":
        raise UnreadableAnswerError("No sense in it.")


def test_what_a_removed_device_sent_and_a_server_lost_is_given_by_one_snapshot() -> None:
    first, second = pair()
    gone = Device(first.relay, first.time, 3).join()
    settle([first, second, gone])
    gone.write(1, "of the removed")
    settle([gone, first, second])
    device = log.read(gone.replica.db).device
    membership.revoke(first.line, first.replica, device, first.random, first.now_ms)
    settle([first, second])
    first.relay.wipe()
    for _ in range(10 * 24):
        for each in (first, second):
            each.sync()
        first.time.pass_ms(3_600_000)
    newcomer = Device(first.relay, first.time, 4).join()
    settle([newcomer, first, second])
    assert newcomer.text(1) == "of the removed"
    assert newcomer.digest() == first.digest() == second.digest()
    assert len(first.relay.manifests) <= 4, "not one a day for ever"
    assert first.alarms() | second.alarms() == set()
