from tests.sync.devices import Device, Time, memory, pair, settle
from tests.sync.fake_relay import Relay


def test_what_one_device_writes_the_other_has() -> None:
    first, second = pair()
    first.write(1, "green tea")
    first.sync()
    second.sync()
    assert second.text(1) == "green tea"
    assert first.digest() == second.digest()
    assert first.alarms() == second.alarms() == set()


def test_both_edit_offline_and_agree() -> None:
    first, second = pair()
    first.write(1, "tea")
    settle([first, second])
    first.write(1, "green tea")
    second.write(1, "black tea", tags=["drink"])
    first.write(2, "milk")
    second.write(3, "sugar")
    second.forget(3)
    settle([first, second])
    assert first.replica.states() == second.replica.states()
    assert first.text(1) in {"green tea", "black tea"}
    assert memory(1) in {*first_conflicts(first), *first_conflicts(second)}


def first_conflicts(device: Device) -> list[bytes]:
    from sync_service.device import log  # noqa: PLC0415

    return log.in_conflict(device.replica.db, 10)


def test_memories_from_before_are_seeded() -> None:
    relay, time = Relay(), Time()
    first = Device(relay, time, 1)
    for number in range(5_000):
        first.replica.store_before_sync(memory(number), b"\xa3tea")
    first.found()
    second = Device(relay, time, 2).join()
    settle([first, second])
    assert len(second.replica.states()) == 5_000
    assert first.digest() == second.digest()
