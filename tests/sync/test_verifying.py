"""What a person is told who asks for everything to be gone through once more."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sync_service.device import log, snapshots
from sync_service.device.verifying import Verified
from tests.sync.devices import Device, pair, settle, verified
from tests.sync.folders import pair as folder_pair
from tests.sync.folders import settle as settle_in_folder


def _written() -> tuple[Device, Device]:
    first, second = pair()
    for number in range(6):
        first.write(number)
        second.write(10 + number)
        settle([first, second], rounds=1)
    settle([first, second])
    return first, second


def _loses(device: Device, keep: Callable[[int], bool]) -> None:
    device.relay.log = [each for number, each in enumerate(device.relay.log) if keep(number)]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    first, second = _written()
    for device in (first, second):
        assert verified(device) == Verified(sound=True, memories=12, found=())
        assert device.alarms() == set()


def test_memories_that_were_altered_behind_our_back_are_found() -> None:
    first, _ = _written()
    with first.replica.transaction() as db:
        db.execute("DELETE FROM states WHERE memory = (SELECT min(memory) FROM states)")
    assert not verified(first).sound


@pytest.mark.parametrize("lost", [3, 4, -1], ids=["in the middle", "beside it", "at the end"])
def test_a_batch_that_a_server_lost_and_goes_on_counting_is_found(lost: int) -> None:
    first, second = _written()
    gone = range(len(first.relay.log))[lost]
    _loses(first, lambda number: number != gone)
    found = [verified(device).found for device in (first, second)]
    assert all(len(each) == 1 and "was deleted" in each[0] for each in found)
    assert {"This device has it all" in each[0] for each in found} == {True, False}


def test_a_batch_that_a_server_altered_is_found() -> None:
    first, second = _written()
    pos, raw = first.relay.log[4]
    first.relay.log[4] = (pos, raw[:150] + bytes([raw[150] ^ 1]) + raw[151:])
    assert len(verified(first).found) == len(verified(second).found) == 1


def test_a_server_with_another_device_list_is_found_out() -> None:
    first, _ = _written()
    first.line.tamper_control = lambda said: [each[:-1] + b"\0" for each in said]
    assert "list of devices is another one" in verified(first).found[0]
    assert first.alarms() == {"forged_device_list"}


@pytest.mark.parametrize("harm", ["gone", "altered"])
def test_a_piece_of_a_snapshot_that_a_server_lost_is_found(harm: str) -> None:
    first, second = _written()
    members = log.members(first.replica.db)
    snapshots.write(first.line, first.replica, members, first.random, first.now_ms)
    assert verified(second).found == ()
    (name,) = first.relay.segments
    if harm == "gone":
        del first.relay.segments[name]
    else:
        first.relay.segments[name] = first.relay.segments[name][:-1] + b"\0"
    (sentence,) = verified(second).found
    assert sentence.startswith("A snapshot")
    assert log.read(second.replica.db).snapshot_owed


def test_what_was_deleted_because_a_snapshot_holds_it_is_not_missed() -> None:
    first, second = _written()
    members = log.members(first.replica.db)
    made = snapshots.write(first.line, first.replica, members, first.random, first.now_ms)
    assert made is not None
    first.relay.cosigned[made] = {log.read(second.replica.db).device: b""}
    assert first.relay.compact() > 0
    assert verified(first).found == verified(second).found == ()


def _flip_signature(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    stat = path.stat()
    path.write_bytes(raw)
    # As a disk does that fails: nobody wrote.
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_bit_that_fell_over_unseen_in_a_folder_is_found_and_made_good(tmp_path: Path) -> None:
    first, second = folder_pair(tmp_path)
    first.write(1)
    settle_in_folder([first, second], rounds=20)
    stream = log.own_stream(first.replica.db).hex()
    path = next(iter(tmp_path.glob(f"sunaiva/*/streams/{stream}/*.batches")))
    whole = path.read_bytes()
    _flip_signature(path)
    settle_in_folder([first, second])
    assert first.alarms() == set()
    assert len(verified(second).found) == 1
    assert len(verified(first).found) == 1
    first.sync()
    assert path.read_bytes() == whole
    assert verified(first).found == verified(second).found == ()
    assert first.alarms() == second.alarms() == set()


def test_what_was_found_lost_is_not_said_to_be_there_again_before_it_is(tmp_path: Path) -> None:
    first, second = folder_pair(tmp_path)
    first.write(1)
    settle_in_folder([first, second], rounds=20)
    stream = log.own_stream(first.replica.db).hex()
    (path,) = tmp_path.glob(f"sunaiva/*/streams/{stream}/*.batches")
    path.unlink()
    assert len(verified(second).found) == 1
    second.sync()
    assert [alarm.kind for alarm in second.all_alarms()] == ["missing"]
    assert "again" not in second.all_alarms()[0].sentence
    settle_in_folder([first, second], rounds=20)
    assert "there again" in second.all_alarms()[0].sentence
