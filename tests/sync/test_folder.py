import os
from pathlib import Path

import pytest

from sync_service.device import healing, log, membership
from sync_service.members import amend
from sync_service.members.entries import RECOVERY_SIGNER, Signer, entry_hash, sign
from sync_service.steps import sealing
from sync_service.steps.step import Report, Run
from sync_service.transport import BusyError, ControlConflictError, ForkError, Reached
from sync_service.transports.folder_shelf import SETTLED_MS
from tests.sync.devices import RECOVERY, Time
from tests.sync.folders import FolderDevice, pair, settle


def test_two_devices_agree_over_a_folder(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    first.write(1, "tea")
    second.write(2, "coffee")
    settle([first, second])
    first.write(1, "green tea")
    second.forget(2)
    settle([first, second])
    assert first.text(1) == second.text(1) == "green tea"
    assert first.digest() == second.digest()
    assert first.alarms() == second.alarms() == set()


def test_after_a_new_start_only_what_is_new_is_read(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    first.write(1)
    settle([first, second])
    second.plug_in()
    first.write(2)
    first.sync()
    assert second.sync().pulled == 1
    assert second.text(2) == "tea"


def test_a_file_that_is_half_there_is_taken_once_it_is_whole(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    settle([first, second])
    first.write(1, "green tea")
    first.sync()
    newest = max(tmp_path.rglob("*.batches"), key=lambda path: path.stat().st_mtime_ns)
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-10])
    second.sync()
    assert second.text(1) is None
    assert second.alarms() == set()
    newest.write_bytes(whole)
    second.sync()
    assert second.text(1) == "green tea"


def test_a_file_that_is_missing_leaves_the_rest_waiting_and_is_named(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    settle([first, second])
    before = set(tmp_path.rglob("*.batches"))
    first.write(1)
    first.sync()
    (missing,) = set(tmp_path.rglob("*.batches")) - before
    first.write(2)
    first.sync()
    away = missing.rename(tmp_path / "away")
    second.sync()
    assert second.text(2) is None
    assert "reordered" in second.alarms()
    away.rename(missing)
    second.sync()
    assert (second.text(1), second.text(2)) == ("tea", "tea")
    assert "reordered" not in second.alarms()


def test_a_folder_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "stick"
    folder.mkdir()
    first, _ = pair(folder)
    first.write(1)
    folder.rename(tmp_path / "away")
    report = first.sync()
    assert report.unavailable is not None
    assert first.text(1) == "tea"
    assert not folder.exists(), "where a stick is plugged in, nothing is written while it is not"
    (tmp_path / "away").rename(folder)
    assert first.sync().pushed > 0


def test_an_empty_place_where_a_drive_should_be_is_not_filled(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    first, second = pair(stick)
    first.write(1, "tea")
    settle([first, second])
    (stick / "sunaiva").rename(tmp_path / "unplugged")
    first.write(2, "coffee")
    for _ in range(3):
        report = first.sync()
        assert report.unavailable is not None
        assert "plugged in" in report.unavailable
        assert list(stick.iterdir()) == []
    (tmp_path / "unplugged").rename(stick / "sunaiva")
    settle([first, second])
    assert second.text(2) == "coffee"
    assert first.alarms() == second.alarms() == set()


def test_a_deleted_folder_is_filled_again_when_a_person_says_so(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    first.write(1, "tea")
    settle([first, second])
    (tmp_path / "sunaiva").rename(tmp_path / "bin")
    second.write(2, "coffee")
    healing.put_back(second.way, second.replica, second.now_ms)
    settle([first, second])
    newcomer = FolderDevice(tmp_path, first.time, 3).enter(first=False)
    settle([first, second, newcomer])
    assert first.replica.states() == second.replica.states() == newcomer.replica.states()
    assert first.alarms() == second.alarms() == newcomer.alarms() == set()


def test_a_device_list_that_is_not_there_yet_is_given_back(tmp_path: Path) -> None:
    """What carries the folder brings files in any order: that is no deletion."""
    first, second = pair(tmp_path)
    settle([first, second])
    (home,) = (tmp_path / "sunaiva").iterdir()
    (home / "devices").rename(tmp_path / "devices")
    settle([first, second])
    assert (home / "devices").exists()
    assert first.alarms() == second.alarms() == set()


def test_a_copy_of_a_device_is_told_apart(tmp_path: Path) -> None:
    first, _ = pair(tmp_path)
    first.sync()
    first.write(1, "tea")
    clone = FolderDevice(tmp_path, first.time, 9)
    first.replica.db.conn.backup(clone.replica.db.conn)
    clone.write(2, "coffee")
    first.sync()
    settle([first, clone])
    settle([first, clone])
    assert first.replica.states() == clone.replica.states()
    assert (first.text(1), first.text(2)) == ("tea", "coffee")
    assert "cloned" in clone.alarms()


def test_another_batch_at_a_place_is_a_fork(tmp_path: Path) -> None:
    first, _ = pair(tmp_path)
    first.sync()
    copy = FolderDevice(tmp_path, first.time, 9)
    first.replica.db.conn.backup(copy.replica.db.conn)
    first.write(1)
    first.sync()
    copy.write(2)
    members = log.members(copy.replica.db)
    run = Run(copy.engine, members, Report(), copy.now_ms)
    sealing.seal(run, patiently=False)  # as a device does that cannot read now
    sealed = log.unsent(copy.replica.db, bytes_max=1 << 20, most=9)
    with pytest.raises(ForkError):
        copy.way.push([frame.raw for frame in sealed])


def test_an_unwritable_folder_is_said_in_plain_words(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    device = FolderDevice(blocked, Time(), 1)
    with pytest.raises(BusyError, match="cannot be read or written"):
        device.enter(first=True)


def test_what_stands_in_a_device_s_place_without_its_signature_stops_nobody(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    first.write(1)
    settle([first, second])
    me = log.read(first.replica.db)
    streams = tmp_path / "sunaiva" / me.vault.hex() / "streams" / me.stream.hex()
    genuine = next(streams.glob("*.batches")).read_bytes()
    place = (me.seq + 1).to_bytes(8, "big")
    (streams / "next.batches").write_bytes(
        genuine[:28] + place + genuine[36:44] + b"x" * 32 + genuine[76:]
    )
    first.write(2)
    settle([first, second])
    assert second.text(2) == "tea"
    assert first.alarms() <= {"forged"}
    assert "forged" in second.alarms()


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    settle([first, second])
    for stream in tmp_path.glob("sunaiva/*/streams/*"):
        (stream / "folder.batches").mkdir()
        os.mkfifo(stream / "pipe.batches")
        (stream / "link.batches").symlink_to("link.batches")
        (stream.parent / f"link-{stream.name}").symlink_to(f"link-{stream.name}")
    for devices in tmp_path.glob("sunaiva/*/devices"):
        (devices / "0.entry").mkdir()
    first.write(1)
    settle([first, second])
    assert second.text(1) == "tea"
    assert first.alarms() == second.alarms() == set()


def test_whatever_changes_in_a_folder_is_news_the_device_list_included(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    settle([first, second])
    before = log.read(second.replica.db)
    reached = Reached(before.generation, log.control_seq(second.replica.db), before.cursor)
    while second.way.wait(reached, seconds=0):
        pass
    assert not second.way.wait(reached, seconds=10)
    device = log.read(first.replica.db).device
    membership.rename(first.way, first.replica, device, "study", first.now_ms)
    assert second.way.wait(reached, seconds=10)
    second.sync()
    assert log.control(second.replica.db) == log.control(first.replica.db)
    third = FolderDevice(tmp_path, first.time, 3).enter(first=False)
    assert second.way.wait(reached, seconds=10)
    second.sync()
    device = log.read(third.replica.db).device
    members = log.members(second.replica.db)
    assert device in members.members


def test_a_change_in_a_folder_is_looked_at_once_more_when_it_has_settled(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    settle([first, second])
    reached = Reached(None, 0, 0)
    assert second.way.wait(reached, seconds=0)
    began = second.time.now_ms
    assert second.way.wait(reached, seconds=600)
    assert second.time.now_ms - began > SETTLED_MS
    assert not second.way.wait(reached, seconds=600)


def test_a_damaged_device_list_is_given_back(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    settle([first, second])
    entry = sorted(tmp_path.glob("sunaiva/*/devices/*.entry"))[1]
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-1] + b"\0")
    second.sync()
    assert "rolled_back" in second.alarms()
    assert entry.read_bytes() == whole
    settle([first, second])
    assert first.alarms() == second.alarms() == set()


def test_what_a_newer_program_put_into_the_device_list_is_named_and_keeps_its_place(
    tmp_path: Path,
) -> None:
    first, second = pair(tmp_path)
    settle([first, second])
    with first.replica.transaction() as db:
        now = log.members(db)
    by_words = Signer(RECOVERY_SIGNER, RECOVERY)
    entry = sign(now.seq + 1, now.hash, now.vault, 40, None, by=by_words)
    (devices,) = tmp_path.glob("sunaiva/*/devices")
    (devices / f"{now.seq + 1:020d}-{entry_hash(entry).hex()}.entry").write_bytes(entry)
    settle([first, second])
    assert first.alarms() == second.alarms() == {"newer"}
    ours = amend.policy(now, by_words, suite_floor=1, min_reader=2)
    with pytest.raises(ControlConflictError):
        first.way.append_control(ours)
    assert first.way.control(now.seq) == [entry]
