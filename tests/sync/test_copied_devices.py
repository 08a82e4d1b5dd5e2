"""A device that was copied, or put back from a backup, where the relay has deleted or lost what it had sent."""

from shared.errors import UnavailableError
from sync_service.device import log, snapshots
from sync_service.sealed import manifests
from sync_service.steps import engine
from tests.sync.devices import Device, pair, settle

HOUR_MS = 3_600_000


def test_a_device_put_back_from_a_backup_gets_what_was_compacted_meanwhile() -> None:
    """It takes back what it had sent without hearing that it came, and then that is missing to what the other copy wrote after it."""
    first, second = pair()
    first.line.after = _loses_the_answer
    first.write(1, "tea")
    first.sync()
    backup = _copy(first, 9)
    first.line.after = lambda _: None
    settle([first, second])
    _compact(first, second)
    first.write(2, "coffee")
    settle([first, second])
    backup.write(3, "milk")
    settle([backup, second])
    assert backup.replica.states() == second.replica.states()
    assert [second.text(number) for number in (1, 2, 3)] == ["tea", "coffee", "milk"]
    assert backup.alarms() == {"cloned"}


def _taken_by_a_copy() -> tuple[Device, Device, Device, bytes]:
    """A device that left its stream, the other one, and a copy of the first, that wrote on the stream where the server had lost
    something that both others have."""
    first, second = pair()
    first.write(1, "tea")
    settle([first, second])
    copy, server = _copy(first, 9), first.relay.backup()
    left = log.own_stream(copy.replica.db)
    first.write(2, "coffee")
    settle([first, second])
    with first.replica.transaction() as db:
        log.mark_copied(db)
    first.write(3, "milk")
    settle([first, second])
    assert log.own_stream(first.replica.db) != left
    first.relay.restore(server)
    first.relay.generation = "another life"
    copy.write(4, "by the copy")
    copy.sync()
    assert log.own_stream(copy.replica.db) == left, "it has what the other copy had"
    return first, second, copy, left


def test_a_copied_device_reads_what_its_copy_wrote_where_the_server_lost_its_own() -> None:
    first, _, copy, _ = _taken_by_a_copy()
    settle([first])
    assert first.text(4) == "by the copy"
    copy.write(5, "and more")
    copy.sync()
    settle([first])
    assert first.text(5) == "and more"
    assert len(first.line.pushes) < 20, "what cannot be taken is not sent on and on"
    assert log.unsent_count(first.replica.db) == 0


def test_what_a_server_lost_and_took_from_a_copy_instead_comes_to_everybody() -> None:
    first, second, copy, _ = _taken_by_a_copy()
    everybody = [first, copy, second]
    _hours(everybody, 30)
    newcomer = Device(first.relay, first.time, 77).join()
    _hours([*everybody, newcomer], 3)
    for device in (*everybody, newcomer):
        texts = [device.text(number) for number in (1, 2, 3, 4)]
        assert texts == ["tea", "coffee", "milk", "by the copy"]
    assert len({device.digest() for device in (*everybody, newcomer)}) == 1


def test_a_snapshot_covers_nothing_that_others_know_otherwise() -> None:
    _, second, _, left = _taken_by_a_copy()
    settle([second])
    assert "fork" in second.alarms()
    _write_snapshot(second)
    covers = manifests.read(second.relay.manifests[-1]).covers
    assert log.own_stream(second.replica.db) in {head.stream for head in covers}
    assert left not in {head.stream for head in covers}


def test_what_stays_at_odds_is_not_told_in_the_same_words_every_day() -> None:
    *everybody, _ = _taken_by_a_copy()
    _hours(everybody, 50)
    told = list(everybody[0].relay.manifests)
    _hours(everybody, 5 * 24)
    assert everybody[0].relay.manifests == told
    assert any("fork" in device.alarms() for device in everybody)


def _copy(device: Device, seed: int) -> Device:
    clone = Device(device.relay, device.time, seed)
    device.replica.db.conn.backup(clone.replica.db.conn)
    clone.line.device = device.line.device
    return clone


def _compact(writer: Device, other: Device) -> None:
    _write_snapshot(writer)
    engine.keep_house(other.engine)
    assert writer.relay.compact() > 0


def _write_snapshot(device: Device) -> None:
    members = log.members(device.replica.db)
    made = snapshots.write(device.line, device.replica, members, device.random, device.now_ms)
    assert made is not None


def _hours(devices: list[Device], count: int) -> None:
    for _ in range(count):
        settle(devices, rounds=1, each=lambda device: engine.keep_house(device.engine))
        devices[0].time.pass_ms(HOUR_MS)


def _loses_the_answer(name: str) -> None:
    if name == "push":
        raise UnavailableError("The answer did not come.")
