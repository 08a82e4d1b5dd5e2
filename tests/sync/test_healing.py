"""A relay that lost something, and a device that was copied or put back: everything is given back, nothing local is lost."""

from pathlib import Path

import pytest

from shared.errors import NotFoundError, UnavailableError
from sync_service.device import log, membership
from sync_service.sealed import keys
from sync_service.steps import engine, sealing
from tests.sync.devices import RECOVERY, Device, Time, memory, pair, settle
from tests.sync.fake_relay import Relay

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def _wrote() -> tuple[Device, Device]:
    first, second = pair()
    first.write(1, "tea", tags=["drink"])
    second.write(2, "coffee")
    settle([first, second])
    return first, second


def _agree(*devices: Device) -> None:
    settle(list(devices))
    assert len({device.digest() for device in devices}) == 1
    states = devices[0].replica.states()
    assert all(device.replica.states() == states for device in devices)


def test_an_emptied_server_is_filled_again() -> None:
    first, second = _wrote()
    before = first.replica.states()
    first.relay.wipe()
    first.write(3, "milk")
    report = first.sync()
    assert "reset" in {alarm.kind for alarm in report.alarms} or report.pushed
    _agree(first, second)
    assert first.replica.states().items() >= before.items()
    newcomer = Device(first.relay, first.time, 3).join()
    _agree(first, second, newcomer)
    assert first.alarms() == second.alarms() == newcomer.alarms() == set()


def test_a_new_generation_is_told_and_healed() -> None:
    first, second = _wrote()
    old = first.relay.backup()
    first.write(3, "milk")
    second.write(4, "sugar")
    settle([first, second])
    first.relay.restore(old)
    first.relay.generation = "another life"
    first.line.after = _break_off
    first.sync()
    assert "reset" in first.alarms()
    first.line.after = lambda _: None
    _agree(first, second)
    newcomer = Device(first.relay, first.time, 3).join()
    _agree(first, second, newcomer)
    assert newcomer.text(3) == "milk"
    assert first.alarms() == set()


def test_an_old_backup_that_nobody_mentions_is_noticed_and_healed() -> None:
    first, second = _wrote()
    old = first.relay.backup()
    first.write(3, "milk")
    second.write(4, "sugar")
    settle([first, second])
    first.relay.restore(old)
    second.line.before = _offline
    first.sync()
    assert "rolled_back" in first.alarms(), "what the other device sent is not there"
    second.line.before = lambda _: None
    _agree(first, second)
    newcomer = Device(first.relay, first.time, 3).join()
    _agree(first, second, newcomer)
    assert (newcomer.text(3), newcomer.text(4)) == ("milk", "sugar")
    assert first.alarms() == second.alarms() == set()


def test_an_old_backup_that_was_written_over_meanwhile_is_healed() -> None:
    """Positions are as high as before, and mean something else."""
    first, second = _wrote()
    third = Device(first.relay, first.time, 3).join()
    settle([first, second, third])
    old = first.relay.backup()
    first.write(3, "milk")
    first.sync()
    first.relay.restore(old)
    for number in range(5):
        third.write(10 + number)
        third.sync()
    for _ in range(30):
        settle([first, second, third], rounds=1)
        first.time.pass_ms(HOUR_MS)
    _agree(first, second, third)
    assert second.text(3) == "milk"


def test_a_list_of_devices_that_was_lost_is_given_back() -> None:
    first, second = _wrote()
    old = first.relay.backup()
    third = Device(first.relay, first.time, 3).join()
    third.write(3, "milk")
    first.relay.restore(old)
    _agree(first, second, third)
    assert second.text(3) == "milk"


def test_an_account_that_may_not_write_still_reads() -> None:
    first, second = _wrote()
    first.write(3, "milk")
    first.sync()
    first.relay.may_push = False
    second.write(4, "sugar")
    report = second.sync()
    assert report.pulled == 1
    assert report.pushed == 0
    assert second.text(3) == "milk"
    assert second.alarms() == {"not_entitled"}
    assert log.outbox_count(second.replica.db) == 1, "it waits, unsealed"
    second.time.pass_ms(10_000)
    assert second.sync().due_in_ms is None, "and nobody is asked for it without a pause"
    first.relay.may_push = True
    _agree(first, second)
    assert second.alarms() == set()


def test_a_server_that_is_full_is_not_asked_without_a_pause() -> None:
    first, second = _wrote()
    first.relay.is_full = True
    for number in range(sealing.UNSENT_MAX + 1):
        first.write(100 + number)
        first.sync()
    first.time.pass_ms(10_000)
    report = first.sync()
    assert first.alarms() == {"quota"}
    assert log.outbox_count(first.replica.db) == 1
    assert report.due_in_ms is None
    first.relay.is_full = False
    _agree(first, second)
    assert first.alarms() == set()


def _copy(device: Device, seed: int) -> Device:
    clone = Device(device.relay, device.time, seed)
    device.replica.db.conn.backup(clone.replica.db.conn)
    clone.line.device = device.line.device
    return clone


def test_both_copies_of_a_device_write_and_nothing_is_lost() -> None:
    first, second = _wrote()
    first.write(3, "before the copy")
    clone = _copy(first, 9)
    first.write(4, "by one")
    clone.write(5, "by the other")
    clone.write(1, "green tea")
    _agree(first, clone, second)
    assert second.text(1) == "green tea"
    assert (second.text(3), second.text(4), second.text(5)) == (
        "before the copy",
        "by one",
        "by the other",
    )
    assert "cloned" in first.alarms() | clone.alarms()
    streams = {log.own_stream(device.replica.db) for device in (first, clone)}
    assert len(streams) == 2


def test_what_a_copy_had_sealed_before_it_knew_is_not_lost() -> None:
    first, second = _wrote()
    clone = _copy(first, 9)
    first.write(4, "by one")
    first.sync()
    clone.write(1, "green tea", tags=["drink", "hot"])
    clone.line.before = _only_sealing
    clone.sync()
    assert log.unsent_count(clone.replica.db) == 1
    clone.line.before = lambda _: None
    _agree(first, clone, second)
    assert second.text(1) == "green tea"
    assert second.text(4) == "by one"
    assert "diverged" not in first.alarms() | second.alarms() | clone.alarms()


def test_copies_that_sealed_the_same_before_do_not_send_it_twice() -> None:
    first, second = _wrote()
    first.write(3, "sealed")
    first.line.before = _only_receiving
    first.sync()
    first.line.before = lambda _: None
    clone = _copy(first, 9)
    head = first.relay.head_pos
    first.sync()
    clone.sync()
    assert first.relay.head_pos == head + 1
    assert log.own_stream(first.replica.db) == log.own_stream(clone.replica.db)
    _agree(first, clone, second)


def test_a_device_put_back_from_a_week_ago_gets_its_own_writes_back() -> None:
    first, second = _wrote()
    backup = _copy(first, 9)
    for number in range(3, 6):
        first.write(number)
        settle([first, second])
    backup.write(7, "after the backup")
    _agree(backup, second)
    assert [backup.text(number) for number in range(3, 6)] == ["tea"] * 3
    assert second.text(7) == "after the backup"
    assert "cloned" in backup.alarms()


def test_a_backup_that_is_put_back_takes_no_place_twice_though_the_server_forgot_as_well() -> None:
    """What the device wrote after the backup is on another device only, which would take the same place for a fork."""
    first, second = _wrote()
    disk, server = _copy(first, 9), first.relay.backup()
    with disk.replica.transaction() as db:
        log.mark_copied(db)
    first.write(3, "milk")
    settle([first, second])
    first.relay.restore(server)
    disk.write(4, "sugar")
    disk.write(1, "green tea")
    disk.sync()
    assert log.own_stream(disk.replica.db) != log.own_stream(first.replica.db)
    assert "cloned" not in disk.alarms(), "nobody has seen another copy"
    _days([disk, second])
    _agree(disk, second)
    assert (disk.text(3), second.text(4), second.text(1)) == ("milk", "sugar", "green tea")
    assert disk.alarms() == second.alarms() == set()


def test_a_backup_that_is_put_back_goes_on_under_one_new_stream_only() -> None:
    first, second = _wrote()
    with first.replica.transaction() as db:
        log.mark_copied(db)
    first.write(3, "milk")
    settle([first, second])
    first.write(4, "sugar")
    _agree(first, second)
    me = log.read(first.replica.db)
    assert len(log.members(first.replica.db).members[me.device].streams) == 2
    assert first.alarms() == set()


def test_a_put_back_device_and_a_put_back_server_still_agree() -> None:
    """What neither has any more, a third device's snapshot gives back."""
    first, second = _wrote()
    disk, server = _copy(first, 9), first.relay.backup()
    first.write(3, "milk")
    settle([first, second])
    first.relay.restore(server)
    disk.write(4, "sugar")
    devices = [disk, second]
    for _ in range(60):
        for device in devices:
            device.sync()
            engine.keep_house(device.engine)
        first.time.pass_ms(HOUR_MS)
    assert disk.replica.states() == second.replica.states()
    assert disk.text(3) == "milk"
    assert second.text(4) == "sugar"


def _days(devices: list[Device], days: int = 3) -> None:
    for _ in range(24 * days):
        settle(devices, rounds=1, each=lambda device: engine.keep_house(device.engine))
        devices[0].time.pass_ms(HOUR_MS)


def _all_is_told(*devices: Device) -> None:
    """Nothing is wrong any more, and whoever comes now gets everything."""
    _days(list(devices))
    newcomer = Device(devices[0].relay, devices[0].time, 77).join()
    _days([*devices, newcomer], days=1)
    _agree(*devices, newcomer)
    assert [device.all_alarms() for device in (*devices, newcomer)] == [[]] * (len(devices) + 1)


def _three() -> tuple[Device, Device, Device]:
    first, second = _wrote()
    third = Device(first.relay, first.time, 3).join()
    third.write(3, "milk")
    settle([first, second, third])
    return first, second, third


def test_what_a_removed_device_wrote_outlives_a_server_that_lost_everything() -> None:
    first, second, third = _three()
    removed = log.read(third.replica.db).device
    membership.revoke(first.line, first.replica, removed, first.random, first.now_ms)
    settle([first, second])
    first.relay.wipe()
    first.sync()
    first.sync()
    assert "rolled_back" in first.alarms()
    _all_is_told(first, second)
    assert second.text(3) == "milk"


def test_what_a_lost_device_wrote_outlives_an_old_backup_of_the_server() -> None:
    first, second, third = _three()
    old = first.relay.backup()
    third.write(4, "sugar")
    settle([first, second, third])
    first.relay.restore(old)
    _all_is_told(first, second)
    assert first.text(4) == "sugar"


def test_a_server_that_lost_what_was_compacted_is_given_all_of_it() -> None:
    devices = first, second, _third = _three()
    _days(list(devices), days=2)
    with first.replica.transaction() as db:
        log.write(db, snapshot_owed=1)
    _days(list(devices), days=1)
    assert first.relay.compact() > 0
    _days(list(devices), days=1)
    first.relay.wipe()
    first.sync()
    assert "cloned" not in first.alarms(), "no copy of it is anywhere"
    _all_is_told(*devices)
    assert (second.text(1), second.text(3)) == ("tea", "milk")


def test_no_snapshot_is_written_again_and_again_for_what_was_given_back() -> None:
    first, second, third = _three()
    old = first.relay.backup()
    third.write(4, "sugar")
    settle([first, second, third])
    first.relay.restore(old)
    _days([first, second], days=2)
    written = len(first.relay.manifests)
    _days([first, second], days=5)
    assert len(first.relay.manifests) == written


def test_a_device_that_comes_back_gives_back_what_a_snapshot_held_for_it() -> None:
    first, second, third = _three()
    first.relay.wipe()
    _days([first, second])
    assert first.alarms() == second.alarms() == set()
    _all_is_told(first, second, third)


def test_a_clock_of_another_century_changes_nothing_for_the_others() -> None:
    time, relay = Time(), Relay()
    first = Device(relay, time, 1, skew_ms=-10 * 365 * DAY_MS).found()
    second = Device(relay, time, 2, skew_ms=10 * 365 * DAY_MS).join()
    settle([first, second])
    second.write(1, "from the future")
    settle([first, second])
    first.write(1, "by who has seen it")
    _agree(first, second)
    assert second.text(1) == "by who has seen it"
    with first.replica.transaction() as db:
        assert log.stamp(db, first.now_ms) >> 16 <= first.now_ms + 60_000


def test_leaving_and_joining_again_loses_nothing() -> None:
    first, second = _wrote()
    second.write(7, "never sent before")
    with second.replica.transaction() as db:
        log.leave(db)
    second.line.device = None
    membership.join_by_words(
        second.line, second.replica, recovery=RECOVERY, name="again", random=second.random
    )
    second._known().write(8, "again")
    settle([first, second])
    engine.keep_house(second.engine)
    settle([first, second])
    newcomer = Device(first.relay, first.time, 3).join()
    everybody = [first, second, newcomer]
    for _ in range(60):
        settle(everybody, rounds=1, each=lambda device: engine.keep_house(device.engine))
        first.time.pass_ms(HOUR_MS)
    _agree(*everybody)
    assert newcomer.text(8) == "again"
    assert first.text(7) == newcomer.text(7) == "never sent before"


def test_a_device_of_another_vault_is_kept_out() -> None:
    first, _ = _wrote()
    stranger = Device(first.relay, first.time, 5)
    with pytest.raises(NotFoundError, match="another vault"):
        membership.join_by_words(
            stranger.line,
            stranger.replica,
            recovery=keys.recovery_seeds(b"\x01" * 16),
            name="stranger",
            random=stranger.random,
        )
    assert not log.is_set_up(stranger.replica.db)


def test_a_vault_on_disk_goes_on_after_a_new_start(tmp_path: Path) -> None:
    time, relay = Time(), Relay()
    first = Device(relay, time, 1, path=tmp_path / "vault.db").found()
    first.write(1, "tea")
    first.replica.close()
    again = Device(relay, time, 1, path=tmp_path / "vault.db")
    again.sync()
    second = Device(relay, time, 2).join()
    _agree(again, second)
    assert memory(1) in second.replica.states()


def _offline(name: str) -> None:
    raise UnavailableError(f"No {name}.")


def _break_off(name: str) -> None:
    if name == "pull":
        _offline(name)


def _only_sealing(name: str) -> None:
    if name in ("pull", "push"):
        _offline(name)


def _only_receiving(name: str) -> None:
    if name == "push":
        _offline(name)
