"""Backups: whole, private, never in the way of anything, and good for a restore."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server import backup, opening
from mcp_server.device import open_device
from mcp_server.replica import Replica
from mcp_server.vault.db import DATABASE_NAME
from mcp_server.vault.vaultfile import FILE_NAME as VAULT_FILE_NAME
from shared.errors import (
    ConflictError,
    CorruptError,
    InvalidError,
    NotFoundError,
    SunaivaError,
    UnavailableError,
)
from sync_service.device import log, membership
from tests.builders import NOON, SetClock, one_model, tell
from tests.fakes import HashEmbedder
from tests.sync.devices import RECOVERY
from tests.sync.fake_relay import Line, Relay
from tests.test_opening import Place

MEMBERS = {DATABASE_NAME, VAULT_FILE_NAME}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def vault_with(place: Place, *said: str) -> None:
    place.make()
    with place.opened() as device:
        tell(device, *said)


def write(place: Place, target: Path) -> backup.Backup:
    with place.opened() as device:
        return backup.write(device, target)


def test_a_backup_knows_that_its_device_may_have_gone_on(place: Place, tmp_path: Path) -> None:
    vault_with(place, "tea")
    target = tmp_path / "backup"
    with place.opened() as device:
        membership.found(
            Line(Relay()), Replica(device), recovery=RECOVERY, name="one", random=os.urandom
        )
        backup.write(device, target)
        with device.vault.reading() as db:
            assert not log.read(db).copied
    backup.restore(target, place.home, now=NOON)
    with place.opened() as device, device.vault.reading() as db:
        assert log.read(db).copied


def test_a_backup_restored_elsewhere_is_the_same_vault(place: Place, tmp_path: Path) -> None:
    vault_with(place, "the harbour", "tea")
    target = tmp_path / "my backup.zip"
    written = write(place, target)
    assert written == backup.Backup(target, target.stat().st_size)
    assert target.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
    shutil.rmtree(place.home)
    assert backup.restore(target, place.home, now=NOON) is None
    assert sorted(place.texts()) == ["tea", "the harbour"]
    assert {each.name for each in place.home.iterdir()} >= MEMBERS
    for name in MEMBERS:
        assert (place.home / name).stat().st_mode & 0o777 == 0o600


def test_a_backup_says_nothing_without_its_key(place: Place, tmp_path: Path) -> None:
    vault_with(place, "the harbour at dusk")
    write(place, target := tmp_path / "backup")
    content = target.read_bytes()
    assert b"harbour" not in content
    assert b"SQLite format 3" not in content


def test_a_backup_opens_with_the_words_of_its_time(place: Place, tmp_path: Path) -> None:
    words = place.make()
    write(place, target := tmp_path / "backup")
    shutil.rmtree(place.home)
    shutil.rmtree(place.access.key_folder)
    backup.restore(target, place.home, now=NOON)
    root = opening.settled_root_by_words(place.home, words, place.access)
    open_device(place.home, root, clock=SetClock(), models=one_model(HashEmbedder)).close()


def test_a_restore_moves_the_vault_that_is_there_aside(place: Place, tmp_path: Path) -> None:
    vault_with(place, "before")
    write(place, target := tmp_path / "backup")
    with place.opened() as device:
        tell(device, "after the backup")
    for second in range(2):
        aside = backup.restore(target, place.home, now=NOON.replace(second=second))
        assert aside == place.home / f"replaced-20261121-12000{second}-000000"
        assert {each.name for each in aside.iterdir()} >= MEMBERS
    assert place.texts() == ["before"]
    first = place.home / "replaced-20261121-120000-000000"
    assert sorted(place.texts(home=first)) == ["after the backup", "before"]


def test_what_was_stored_last_is_in_the_backup(place: Place, tmp_path: Path) -> None:
    place.make()
    with place.opened() as device:
        tell(device, "only in the log so far")
        backup.write(device, tmp_path / "backup")
        tell(device, "too late")
    backup.restore(tmp_path / "backup", place.home, now=NOON)
    assert place.texts() == ["only in the log so far"]


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
def test_a_backup_overwrites_nothing(place: Place, tmp_path: Path, make: object) -> None:
    place.make()
    target = tmp_path / "there"
    make(target)  # type: ignore[operator] # one of the two above
    with place.opened() as device, pytest.raises(ConflictError, match="exists already"):
        backup.write(device, target)
    assert target.exists()


def test_a_backup_into_no_folder_says_so(place: Place, tmp_path: Path) -> None:
    place.make()
    with place.opened() as device, pytest.raises(UnavailableError, match="No such file"):
        backup.write(device, tmp_path / "nowhere" / "backup")


@pytest.mark.parametrize("name", ["with space", "ümläut", "-dash", "nested.zip.zip", "x" * 200])
def test_a_backup_may_have_any_name(place: Place, tmp_path: Path, name: str) -> None:
    place.make()
    write(place, tmp_path / name)
    backup.restore(tmp_path / name, place.home, now=NOON)
    assert place.texts() == []


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from mcp_server import backup
from shared.errors import SunaivaError
from tests.test_backup import Place

place = Place(Path(sys.argv[1]))
with place.opened() as device:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
    try:
        backup.write(device, Path(sys.argv[2]))
    except SunaivaError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def test_a_backup_that_does_not_fit_leaves_nothing(place: Place, tmp_path: Path) -> None:
    vault_with(place, *("x" * 10_000 + str(n) for n in range(10)))
    folder = tmp_path / "full"
    folder.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path, folder / "backup"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 1
    assert list(folder.iterdir()) == []


def test_a_missing_backup_is_named(place: Place, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file"):
        backup.restore(tmp_path / "nowhere", place.home, now=NOON)
    assert not place.home.exists()


@pytest.fixture
def good(place: Place, tmp_path: Path) -> Path:
    vault_with(place, "precious")
    write(place, target := tmp_path / "good")
    return target


def packed(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def contents(good: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(good) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def bad_backups(good: Path, path: Path) -> dict[str, Callable[[], object]]:
    """Makes, at `path`, what looks like a backup from far away."""
    database, keys = contents(good)[DATABASE_NAME], contents(good)[VAULT_FILE_NAME]
    both = [(DATABASE_NAME, database), (VAULT_FILE_NAME, keys)]
    plain, bomb = b"SQLite format 3\0" + database[16:], bytes(50_000_000)
    return {
        "foreign": lambda: packed(path, ("photo.jpg", b"x" * 5_000)),
        "escaping": lambda: packed(path, ("../vault.db", database), both[1]),
        "more": lambda: packed(path, *both, ("extra", b"")),
        "less": lambda: packed(path, both[0]),
        "empty": lambda: packed(path),
        "bomb": lambda: packed(path, (DATABASE_NAME, bomb), both[1], method=zipfile.ZIP_DEFLATED),
        "plain database": lambda: packed(path, (DATABASE_NAME, plain), both[1]),
        "cut database": lambda: packed(path, (DATABASE_NAME, database[:-1]), both[1]),
        "no keys": lambda: packed(path, both[0], (VAULT_FILE_NAME, b"{}")),
        "no zip": lambda: path.write_bytes(b"Dear diary, " * 1_000),
        "nothing": path.touch,
        "folder": path.mkdir,
    }


@pytest.mark.parametrize(
    "kind",
    ["foreign", "escaping", "more", "less", "empty", "bomb", "plain database", "cut database", "no keys", "no zip",
     "nothing", "folder"],
)  # fmt: skip
def test_what_is_no_whole_backup_leaves_the_vault_as_it_is(
    place: Place, good: Path, tmp_path: Path, kind: str
) -> None:
    bad = tmp_path / "bad"
    bad_backups(good, bad)[kind]()
    before = {each.name: each.read_bytes() for each in place.home.iterdir()}
    with pytest.raises((CorruptError, InvalidError, UnavailableError)) as refused:
        backup.restore(bad, place.home, now=NOON)
    assert str(bad) in str(refused.value)
    assert {each.name: each.read_bytes() for each in place.home.iterdir()} == before
    assert place.texts() == ["precious"]


def test_a_backup_with_a_member_twice_is_refused(place: Place, good: Path) -> None:
    with zipfile.ZipFile(good, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(DATABASE_NAME, b"another")
    with pytest.raises(InvalidError, match="no Sunaiva backup"):
        backup.restore(good, place.home, now=NOON)
    assert place.texts() == ["precious"]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine")
    place = Place(folder)
    vault_with(place, "precious")
    write(place, folder / "good")
    return folder / "good"


@given(data=st.data())
def test_a_damaged_backup_is_refused_or_whole(
    pristine: Path, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(pristine.read_bytes())
    whole = contents(pristine)
    # Most bytes are the database's; the zip's own are at both ends.
    places = st.integers(0, len(content) - 1) | st.integers(len(content) - 250, len(content) - 1)
    for place in data.draw(st.lists(places | st.integers(0, 60), min_size=1, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "damaged").write_bytes(content)
    home = folder / "home"
    try:
        backup.restore(folder / "damaged", home, now=NOON)
    except SunaivaError:
        assert list(home.iterdir()) == []
    else:
        assert {name: (home / name).read_bytes() for name in MEMBERS} == whole


def test_a_home_one_may_not_write_in_says_so(good: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.write_text("a file where the folder should be")
    with pytest.raises(UnavailableError, match="closed"):
        backup.restore(good, closed, now=NOON)
    assert os.path.isfile(closed)  # noqa: PTH113 (a plain look)


def test_a_backup_holds_the_vault_and_its_wrapped_keys_only(good: Path) -> None:
    assert set(contents(good)) == MEMBERS
