"""The vault's file under everything that can happen to a file."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlcipher3.dbapi2 as driver
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.vault import store
from mcp_server.vault.db import DATABASE_NAME, OpenVault, create_vault, open_vault
from shared.errors import (
    ConflictError,
    CorruptError,
    ForbiddenError,
    NotFoundError,
    SunaivaError,
    UnavailableError,
)
from tests.builders import KEY, memory, vault_at

NEW_KEY = bytes(reversed(range(32)))
DIGEST = bytes(16)


def store_one(vault: OpenVault, text: str) -> None:
    with vault.writing() as db:
        store.insert(db, memory(text), DIGEST)


def texts(vault: OpenVault) -> list[str]:
    with vault.reading() as db:
        return [text for (text,) in db.execute("SELECT text FROM texts ORDER BY memory")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / DATABASE_NAME


def test_nothing_of_a_vault_is_in_the_clear(path: Path) -> None:
    with vault_at(path) as vault:
        store_one(vault, "the harbour at dusk")
        store_one(vault, "the harbour at dawn")
        for file in path.parent.iterdir():
            content = file.read_bytes()
            assert b"SQLite format 3" not in content
            assert b"harbour" not in content
            assert b"CREATE TABLE" not in content


def test_two_vaults_of_one_key_have_nothing_in_common(tmp_path: Path) -> None:
    create_vault(tmp_path / "one", KEY)
    create_vault(tmp_path / "two", KEY)
    one, two = (tmp_path / "one").read_bytes(), (tmp_path / "two").read_bytes()
    assert one[:16] != two[:16]
    assert one[-64:] != two[-64:]


def test_a_vault_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / DATABASE_NAME
    create_vault(path, KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == [DATABASE_NAME]


def test_a_vault_that_is_there_is_never_made_anew(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(ConflictError, match="already"):
        create_vault(path, KEY)
    assert path.read_bytes() == b"precious"


def test_what_an_interrupted_creation_left_is_in_nobodys_way(path: Path) -> None:
    path.with_name(DATABASE_NAME + ".new").write_bytes(b"half")
    create_vault(path, KEY)
    with vault_at(path) as vault:
        store_one(vault, "whole")
        assert texts(vault) == ["whole"]
    assert [each.name for each in path.parent.iterdir()] == [DATABASE_NAME]


@pytest.mark.parametrize("key", [NEW_KEY, bytes(32)], ids=["another", "zeros"])
def test_a_wrong_key_opens_nothing_and_changes_nothing(path: Path, key: bytes) -> None:
    create_vault(path, KEY)
    before = path.read_bytes()
    with pytest.raises(ForbiddenError, match="recovery-words"):
        open_vault(path, key)
    assert path.read_bytes() == before


def test_the_vault_of_somebody_else_in_its_place_is_refused(tmp_path: Path) -> None:
    create_vault(tmp_path / "mine", KEY)
    create_vault(tmp_path / "theirs", NEW_KEY)
    (tmp_path / "theirs").replace(tmp_path / "mine")
    with pytest.raises(ForbiddenError, match="does not open"):
        open_vault(tmp_path / "mine", KEY)


def test_a_plain_sqlite_file_is_never_opened_as_a_vault(path: Path) -> None:
    plain = driver.connect(str(path))
    plain.execute("CREATE TABLE memories (text)")
    plain.commit()
    plain.close()
    before = path.read_bytes()
    with pytest.raises(CorruptError, match="plain SQLite file"):
        open_vault(path, KEY)
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [0, 100, 4096 + 1, 8000])
def test_a_file_cut_short_is_named_as_such_and_kept(path: Path, size: int) -> None:
    create_vault(path, KEY)
    os.truncate(path, size)
    with pytest.raises(CorruptError, match="cut short"):
        open_vault(path, KEY)
    assert path.stat().st_size == size


def test_a_file_cut_at_a_page_is_refused_or_found_damaged(path: Path) -> None:
    with vault_at(path) as vault:
        for number in range(60):
            store_one(vault, f"memory {number} " + "x" * 3_000)
    os.truncate(path, path.stat().st_size // 8192 * 4096)
    try:
        vault = open_vault(path, KEY)
    except CorruptError as error:
        assert "sunaiva restore" in str(error)  # noqa: PT017 (either may happen)
        return
    assert vault.problems()
    vault.close()


def test_a_missing_vault_says_how_to_make_one(path: Path) -> None:
    with pytest.raises(NotFoundError, match="sunaiva init"):
        open_vault(path, KEY)
    assert not path.exists()


def test_a_sound_vault_has_no_problems(path: Path) -> None:
    with vault_at(path) as vault:
        store_one(vault, "fine")
        assert vault.problems() == []


def test_a_changed_bit_is_found_and_told(path: Path) -> None:
    with vault_at(path) as vault:
        for number in range(40):
            store_one(vault, f"memory {number} " + "x" * 3_000)
    content = bytearray(path.read_bytes())
    for page in range(len(content) // 4096 - 5, len(content) // 4096):
        content[page * 4096 + 100] ^= 1
    path.write_bytes(content)
    with vault_at(path) as vault:
        problems = vault.problems()
        assert any("HMAC" in problem for problem in problems)
        with pytest.raises(CorruptError, match="sunaiva restore"):
            texts(vault)


def test_a_block_that_raises_stores_nothing(path: Path) -> None:
    with vault_at(path) as vault:
        store_one(vault, "before")

        def half() -> None:
            with vault.writing() as db:
                store.insert(db, memory("half"), DIGEST)
                raise KeyError("the caller's own")

        with pytest.raises(KeyError, match="the caller's own"):
            half()
        assert texts(vault) == ["before"]
        store_one(vault, "after")
        assert texts(vault) == ["before", "after"]


def test_a_reader_sees_one_moment(path: Path) -> None:
    with vault_at(path) as vault:
        store_one(vault, "before")
        with vault.reading() as db:
            first = db.execute("SELECT count(*) FROM memories").fetchone()
            store_one(vault, "meanwhile")
            assert db.execute("SELECT count(*) FROM memories").fetchone() == first
        assert texts(vault) == ["before", "meanwhile"]


def test_a_reader_cannot_write(path: Path) -> None:
    with vault_at(path) as vault:

        def write() -> None:
            with vault.reading() as db:
                store.insert(db, memory("sneaky"), DIGEST)

        with pytest.raises(ForbiddenError, match="cannot be written"):
            write()
        assert texts(vault) == []


def test_readers_outlive_an_error(path: Path) -> None:
    with vault_at(path) as vault:

        def fail() -> None:
            with vault.reading():
                raise RuntimeError("in the caller")

        for _ in range(10):
            with pytest.raises(RuntimeError, match="in the caller"):
                fail()
        assert texts(vault) == []


def test_a_file_error_of_the_caller_is_not_blamed_on_the_vault(path: Path) -> None:
    with vault_at(path) as vault:

        def look_elsewhere() -> None:
            with vault.reading():
                (path.parent / "missing.txt").read_text()

        with pytest.raises(FileNotFoundError):
            look_elsewhere()


def test_a_mistake_in_the_code_is_not_put_into_nice_words(path: Path) -> None:
    with vault_at(path) as vault:

        def ask() -> None:
            with vault.reading() as db:
                db.execute("SELECT text FROM nowhere")

        with pytest.raises(driver.OperationalError, match="no such table"):
            ask()


def test_a_full_disk_is_told_and_the_next_write_works(path: Path) -> None:
    with vault_at(path) as vault:
        store_one(vault, "before")
        with vault.writing() as db:
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            db.execute(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(UnavailableError, match="disk is full, nothing was stored"):
            store_one(vault, "too much " * 100_000)
        store_one(vault, "small")
        assert texts(vault) == ["before", "small"]
        assert vault.problems() == []


FILE_THAT_CANNOT_GROW = """
import resource, signal, sys
from pathlib import Path
from mcp_server.vault.db import open_vault
from shared.errors import UnavailableError
from tests.vault.test_db import KEY, store_one, texts

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
vault = open_vault(Path(sys.argv[1]), KEY)
store_one(vault, "before")
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
try:
    for number in range(200):
        store_one(vault, "x" * 10_000)
except UnavailableError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store_one(vault, "after")
print(len(texts(vault)) - number, vault.problems())
vault.close()
"""


def test_a_disk_that_takes_no_more_loses_nothing_that_was_stored(path: Path) -> None:
    create_vault(path, KEY)
    ran = subprocess.run(
        [sys.executable, "-c", FILE_THAT_CANNOT_GROW, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    sentence, after = ran.stdout.splitlines()
    assert "nothing was stored" in sentence
    assert after == "2 []"


WRITES_AND_SAYS_SO = """
import sys
from pathlib import Path
from mcp_server.vault.db import open_vault
from tests.vault.test_db import KEY, store_one

vault = open_vault(Path(sys.argv[1]), KEY)
for number in range(1_000_000):
    store_one(vault, f"{number} " + "x" * (number * 37 % 5_000))
    print(number, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 10, 40])
def test_a_killed_process_loses_nothing_it_acknowledged(path: Path, acknowledged: int) -> None:
    create_vault(path, KEY)
    child = subprocess.Popen(
        [sys.executable, "-c", WRITES_AND_SAYS_SO, path], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for _ in range(acknowledged):
        last = child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    (last,) = child.stdout.read().splitlines()[-1:] or [last]
    child.wait()
    child.stdout.close()
    with vault_at(path) as vault:
        there = [int(text.split()[0]) for text in texts(vault)]
        assert there[: int(last) + 1] == list(range(int(last) + 1))
        assert len(there) <= int(last) + 2  # the one it had no time to acknowledge
        assert vault.problems() == []


def test_after_a_rekey_only_the_new_key_opens_and_nothing_is_missing(path: Path) -> None:
    with vault_at(path) as vault:
        for number in range(50):
            store_one(vault, f"memory {number}")
        vault.rekey(NEW_KEY)
    with pytest.raises(ForbiddenError):
        open_vault(path, KEY)
    with vault_at(path, NEW_KEY) as vault:
        assert texts(vault) == [f"memory {number}" for number in range(50)]
        assert vault.problems() == []
    assert [each.name for each in path.parent.iterdir()] == [DATABASE_NAME]


CHANGES_THE_KEY = """
import sys
from pathlib import Path
from mcp_server.vault.db import open_vault
from tests.vault.test_db import KEY, NEW_KEY

vault = open_vault(Path(sys.argv[1]), KEY)
print("begun", flush=True)
vault.rekey(NEW_KEY)
print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("lines", [1, 2], ids=["meanwhile", "afterwards"])
def test_a_process_killed_at_a_rekey_leaves_a_vault_of_one_of_the_keys(
    path: Path, lines: int
) -> None:
    with vault_at(path) as vault, vault.writing() as db:
        for number in range(1_000):
            store.insert(db, memory(f"memory {number} " + "x" * 5_000), DIGEST)
    child = subprocess.Popen(
        [sys.executable, "-c", CHANGES_THE_KEY, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    for _ in range(lines):
        child.stdout.readline()
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    # The new key is tried first, as when an interrupted rekey is settled: that must not harm the old pages.
    for key in (NEW_KEY, KEY):
        try:
            vault = open_vault(path, key)
        except ForbiddenError:
            continue
        assert len(texts(vault)) == 1_000
        assert vault.problems() == []
        vault.close()
        break
    else:
        pytest.fail("no key opens the vault any more")


@pytest.mark.parametrize("key", [KEY, NEW_KEY], ids=["same key", "another key"])
def test_a_copy_is_whole_private_and_of_its_key(path: Path, key: bytes) -> None:
    copy = path.with_name("copy")
    with vault_at(path) as vault:
        store_one(vault, "copied")
        vault.copy_to(copy, key, mark=lambda _: None)
        store_one(vault, "later")
    assert copy.stat().st_mode & 0o777 == 0o600
    with vault_at(copy, key) as vault:
        assert texts(vault) == ["copied"]
        assert vault.problems() == []


def test_a_copy_replaces_no_file(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_bytes(b"precious")
    with vault_at(path) as vault, pytest.raises(SunaivaError, match="exists"):
        vault.copy_to(copy, KEY, mark=lambda _: None)
    assert copy.read_bytes() == b"precious"


def test_after_truncating_the_log_everything_is_in_the_main_file(path: Path) -> None:
    with vault_at(path) as vault:
        store_one(vault, "x" * 10_000)
        vault.truncate_wal()
        assert path.with_name(DATABASE_NAME + "-wal").stat().st_size == 0
        alone = path.with_name("alone")
        shutil.copy(path, alone)
    with vault_at(alone) as vault:
        assert texts(vault) == ["x" * 10_000]


def test_migrations_run_once(path: Path) -> None:
    create_vault(path, KEY)
    for _ in range(2):
        with vault_at(path) as vault, vault.reading() as db:
            names = [name for (name,) in db.execute("SELECT name FROM _sqlite_migrations")]
            assert len(names) == len(set(names)) > 0


def test_an_older_vault_is_brought_up_to_date_and_keeps_what_it_holds(path: Path) -> None:
    # What an encrypted file without any table is to us: a vault from before the first step.
    connection = driver.connect(str(path))
    connection.execute(f"PRAGMA key = \"x'{KEY.hex()}'\"")
    connection.execute("CREATE TABLE older (text)")
    connection.execute("INSERT INTO older VALUES ('kept')")
    connection.commit()
    connection.close()
    vault = open_vault(path, KEY)
    store_one(vault, "new")
    with vault.reading() as db:
        assert db.execute("SELECT text FROM older").fetchall() == [("kept",)]
    vault.close()


def test_a_vault_of_a_newer_sunaiva_is_refused_untouched(path: Path) -> None:
    with vault_at(path) as vault, vault.writing() as db:
        db.execute(
            "UPDATE _sqlite_migrations SET name = '9999_wonders' WHERE name = '0001_memories'"
        )
    with pytest.raises(CorruptError, match="newer Sunaiva"):
        open_vault(path, KEY)
    with pytest.raises(CorruptError, match="newer Sunaiva"):
        open_vault(path, KEY)


@given(seed=st.integers(0, 2**32), pages=st.integers(1, 4), head=st.binary(max_size=16))
def test_no_junk_passes_for_a_vault(
    seed: int, pages: int, head: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("junk") / DATABASE_NAME
    path.write_bytes((head + random.Random(seed).randbytes(pages * 4096))[: pages * 4096])
    with pytest.raises((ForbiddenError, CorruptError)):
        open_vault(path, KEY)


def test_a_folder_one_may_not_write_in_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    create_vault(folder / DATABASE_NAME, KEY)
    ran = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, folder], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    opened, made = ran.stdout.splitlines()
    assert "ermission" in opened
    assert "ermission" in made


AS_NOBODY = """
import os, sys
from pathlib import Path
from mcp_server.vault.db import create_vault, open_vault
from shared.errors import ForbiddenError
from tests.vault.test_db import KEY

folder = Path(sys.argv[1])
folder.chmod(0o555)
(folder / "vault.db").chmod(0o444)
for parent in folder.parents[:3]:
    parent.chmod(parent.stat().st_mode | 0o011)
if os.geteuid() == 0:
    os.seteuid(65534)
for act in (lambda: open_vault(folder / "vault.db", KEY), lambda: create_vault(folder / "b.db", KEY)):
    try:
        act()
    except ForbiddenError as error:
        print(error)
"""
