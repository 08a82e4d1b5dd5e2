"""A server that lost the end of the device list, and took another one meanwhile: nobody can join the two, and it is said."""

from sync_service.device import log, membership
from tests.sync.devices import Device, pair, settle


def test_who_is_left_with_another_key_than_a_server_took_since_says_so() -> None:
    """Both lists are of one length, so neither ever follows the other."""
    first, second = pair()
    gone = Device(first.relay, first.time, 3).join()
    settle([first, second, gone])
    removal: list[dict[str, object]] = []

    def remember(name: str) -> None:
        if name == "append_control" and not removal:
            removal.append(first.relay.backup())

    first.line.after = remember
    device = log.read(gone.replica.db).device
    membership.revoke(first.line, first.replica, device, first.random, first.now_ms)
    first.relay.restore(removal[0])
    second.sync()
    assert len(log.control(second.replica.db)) == len(log.control(first.replica.db))
    first.write(1, "under the lost key")
    second.write(2, "under the other")
    settle([first, second])
    assert "forged_device_list" in first.alarms()
    assert "forged_device_list" not in second.alarms()
    assert first.text(1) == "under the lost key"
