"""Files in a folder that are deleted, cut off, altered, copied or on their way: each is told apart, and given back by whoever has it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sync_service.device import log, membership, snapshots
from sync_service.steps import sealing
from sync_service.steps.step import Report, Run
from sync_service.transport import Range
from sync_service.transports.folder_shelf import gaps
from tests.sync.folders import FolderDevice, pair, settle

HOUR_MS = 3_600_000
Harm = Callable[[Path], None]


def _written(folder: Path, count: int = 3) -> tuple[FolderDevice, FolderDevice]:
    first, second = pair(folder)
    for number in range(count):
        first.write(number)
        settle([first, second], rounds=1)
    second.write(50, "coffee")
    settle([first, second], rounds=20)
    assert first.alarms() == second.alarms() == set()
    return first, second


def _files(device: FolderDevice) -> list[Path]:
    stream = log.own_stream(device.replica.db).hex()
    return sorted(device.folder.glob(f"sunaiva/*/streams/{stream}/*.batches"))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip(at: int) -> Harm:
    def flip(path: Path) -> None:
        raw = bytearray(path.read_bytes())
        raw[at] ^= 1
        path.write_bytes(raw)

    return flip


def _unfetched(path: Path) -> None:
    path.rename(path.with_name(f".{path.name}.icloud"))


def _sentences(device: FolderDevice, kind: str) -> list[str]:
    return [alarm.sentence for alarm in device.all_alarms() if alarm.kind == kind]


def _rest(device: FolderDevice, rounds: int = 12) -> None:
    settle([device], rounds=rounds)


@pytest.mark.parametrize(
    ("harm", "kind", "said"),
    [
        (Path.unlink, "missing", "was deleted"),
        (_cut, "damaged", "was cut off"),
        (_flip(150), "damaged", "altered or damaged"),
        (_flip(30), "damaged", "altered or damaged"),
        (_flip(-3), "damaged", "altered or damaged"),
        (_empty, "incomplete", "is empty"),
        (_unfetched, "incomplete", "is empty"),
    ],
    ids=["deleted", "cut off", "content", "header", "signature", "empty", "not fetched"],
)
@pytest.mark.parametrize("which", [0, -1], ids=["oldest", "newest"])
def test_who_wrote_a_harmed_file_says_so_and_gives_it_back(
    tmp_path: Path, harm: Harm, kind: str, said: str, which: int
) -> None:
    first, _ = _written(tmp_path)
    path = _files(first)[which]
    whole = path.read_bytes()
    harm(path)
    _rest(first)
    assert path.read_bytes() == whole
    newcomer = FolderDevice(tmp_path, first.time, 7).enter(first=False)
    newcomer.sync()
    assert newcomer.replica.states() == first.replica.states()
    assert newcomer.alarms() == set()
    assert first.alarms() == {kind}
    assert "all there again" in _sentences(first, kind)[0]
    first.time.pass_ms(HOUR_MS)
    _rest(first, 1)
    assert first.alarms() == set()


@pytest.mark.parametrize(
    ("harm", "kind", "said"),
    [
        (Path.unlink, "missing", "was deleted"),
        (_cut, "damaged", "was cut off"),
        (_flip(150), "damaged", "altered or damaged"),
        (_empty, "incomplete", "is empty"),
    ],
    ids=["deleted", "cut off", "altered", "empty"],
)
def test_what_only_another_device_has_is_said_and_waited_for(
    tmp_path: Path, harm: Harm, kind: str, said: str
) -> None:
    first, second = _written(tmp_path)
    before = second.replica.states()
    harm(_files(first)[-1])
    _rest(second)
    assert second.alarms() == {kind}
    (sentence,) = _sentences(second, kind)
    assert said in sentence
    assert "another device" in sentence.lower()
    assert "gives it back as soon as it syncs" in sentence
    assert second.replica.states() == before
    _rest(first)
    second.time.pass_ms(HOUR_MS)
    _rest(second)
    assert second.alarms() == set()


def test_after_all_streams_were_deleted_everything_comes_back_without_a_new_write(
    tmp_path: Path,
) -> None:
    first, second = _written(tmp_path)
    for streams in tmp_path.glob("sunaiva/*/streams"):
        for stream in streams.iterdir():
            shutil.rmtree(stream)
    settle([first, second], rounds=12)
    assert first.alarms() == second.alarms() == {"missing"}
    newcomer = FolderDevice(tmp_path, first.time, 7).enter(first=False)
    newcomer.sync()
    assert newcomer.replica.states() == first.replica.states()


def test_a_loss_is_found_after_a_new_start(tmp_path: Path) -> None:
    first, _ = _written(tmp_path)
    path = _files(first)[0]
    path.unlink()
    first.plug_in()
    _rest(first)
    assert path.exists()
    assert first.alarms() == {"missing"}


def test_a_file_that_is_replaced_in_a_moment_is_no_alarm(tmp_path: Path) -> None:
    first, second = _written(tmp_path)
    path = _files(first)[0]
    whole = path.read_bytes()
    for size in (0, 20, 90, len(whole)):
        path.write_bytes(whole[:size])
        settle([first, second], rounds=2)
        assert first.alarms() == second.alarms() == set()
    settle([first, second], rounds=12)
    assert first.alarms() == second.alarms() == set()


def test_a_file_that_grows_for_long_is_no_alarm_and_one_that_stopped_growing_is(
    tmp_path: Path,
) -> None:
    first, second = _written(tmp_path)
    first.write(9, "green tea")
    first.sync()
    path = _files(first)[-1]
    whole = path.read_bytes()
    for size in range(0, len(whole), 20):
        path.write_bytes(whole[:size])
        second.sync()
        second.time.pass_ms(120_000)
        assert second.alarms() == set()
    for _ in range(10):
        second.sync()
        second.time.pass_ms(120_000)
    assert second.alarms() == {"incomplete"}
    assert "only half there" in _sentences(second, "incomplete")[0]
    path.write_bytes(whole)
    second.sync()
    assert second.text(9) == "green tea"


def test_a_conflicted_copy_is_read_like_the_file_it_is_a_copy_of(tmp_path: Path) -> None:
    first, second = _written(tmp_path)
    path = _files(first)[1]
    copy = path.with_name(f"{path.stem} (laptop's conflicted copy 2026-11-21).batches")
    shutil.copy(path, copy)
    settle([first, second], rounds=12)
    assert first.alarms() == second.alarms() == set()
    path.unlink()
    settle([first, second], rounds=12)
    assert first.alarms() == second.alarms() == set()
    newcomer = FolderDevice(tmp_path, first.time, 7).enter(first=False)
    newcomer.sync()
    assert newcomer.replica.states() == first.replica.states()


def test_one_batch_that_is_harmed_takes_no_other_of_its_file_along(tmp_path: Path) -> None:
    first, second = pair(tmp_path)
    settle([first, second])
    with first.replica.transaction() as db:
        log.write(db, paused=1)
    for number in range(3):
        first.write(number)
        _seals(first)
    with first.replica.transaction() as db:
        log.write(db, paused=0)
    first.sync()
    path = _files(first)[-1]
    _flip(150)(path)
    newcomer = FolderDevice(tmp_path, first.time, 7).enter(first=False)
    _rest(first)
    newcomer.sync()
    assert newcomer.replica.states() == first.replica.states()


def _seals(device: FolderDevice) -> None:
    members = log.members(device.replica.db)
    run = Run(device.engine, members, Report(), device.now_ms)
    sealing.seal(run, patiently=False)


def test_what_was_altered_and_looks_as_before_keeps_nobody_from_writing_on(tmp_path: Path) -> None:
    first, second = _written(tmp_path)
    path = _files(first)[-1]
    seen = path.stat()
    _flip(0)(path)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    first.write(9, "green tea")
    settle([first, second])
    assert first.alarms() == second.alarms() == set()
    assert second.text(9) == "green tea"


@pytest.mark.parametrize(
    ("there", "wanted", "missing"),
    [
        ([], Range(1, 3), [Range(1, 3)]),
        ([(1, 2), (5, 6)], Range(1, 8), [Range(3, 4), Range(7, 8)]),
        ([(1, 9)], Range(3, 4), []),
        ([(5, 6)], Range(1, 2), [Range(1, 2)]),
        ([(12, 15)], Range(11, 10), []),  # as where a snapshot holds all of it
    ],
    ids=["nothing there", "between and after", "all there", "before", "nothing asked for"],
)
def test_missing_is_what_is_asked_for_and_in_no_file(
    there: list[tuple[int, int]], wanted: Range, missing: list[Range]
) -> None:
    assert gaps(there, wanted) == missing


@pytest.mark.parametrize("harmed", ["segments", "manifests"])
@pytest.mark.parametrize("harm", [Path.unlink, _cut, _empty], ids=["deleted", "cut off", "empty"])
def test_a_snapshot_that_is_harmed_is_named_and_written_anew(
    tmp_path: Path, harmed: str, harm: Harm
) -> None:
    first, second = _written(tmp_path)
    _snapshot(first)
    settle([first, second])
    assert first.alarms() == second.alarms() == set()
    (path,) = (
        each for each in tmp_path.glob(f"sunaiva/*/{harmed}/*") if "signature" not in each.name
    )
    harm(path)
    _rest(first, 1)
    (alarm,) = first.all_alarms()
    assert (alarm.subject, alarm.sentence.split()[:2]) == ("snapshot", ["A", "snapshot"])
    for _ in range(27):
        first.time.pass_ms(HOUR_MS)
        first.sync()
    assert first.alarms() == set()
    assert len(first.way.manifests()) == 1


def test_the_snapshot_of_a_removed_device_stands_in_for_nothing(tmp_path: Path) -> None:
    first, second = _written(tmp_path)
    _snapshot(second)
    settle([first, second])
    removed = log.read(second.replica.db).device
    membership.revoke(first.way, first.replica, removed, first.random, first.now_ms)
    settle([first])
    third = FolderDevice(tmp_path, first.time, 7).enter(first=False)
    settle([first, third], rounds=12)
    assert third.alarms() == set()
    _files(first)[0].unlink()
    settle([third], rounds=20)
    assert third.alarms() == {"missing"}


def _snapshot(device: FolderDevice) -> None:
    members = log.members(device.replica.db)
    made = snapshots.write(device.way, device.replica, members, device.random, device.now_ms)
    assert made is not None


def test_a_device_that_joins_gets_past_what_a_lost_device_cannot_give_back(
    tmp_path: Path,
) -> None:
    first, second = _written(tmp_path)
    first.write(9, "green tea")
    settle([first, second])
    _files(first)[1].unlink()
    for _ in range(30):
        second.time.pass_ms(HOUR_MS)
        second.sync()
    newcomer = FolderDevice(tmp_path, first.time, 7).enter(first=False)
    settle([newcomer, second])
    assert newcomer.replica.states() == second.replica.states()
