"""What stands on the pages of a vault's files: everything that is stored, and nothing that was erased."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.vault import pages, store
from mcp_server.vault.db import DATABASE_NAME, OpenVault
from tests.builders import KEY, memory, vault_at

SAID = b"the harbour at dusk"
NEW_KEY = bytes(reversed(range(32)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / DATABASE_NAME


def put(vault: OpenVault, text: str) -> int:
    with vault.writing() as db:
        return store.insert(db, memory(text), bytes(16))


def erase(vault: OpenVault, row: int) -> None:
    with vault.writing() as db:
        each = store.by_rows(db, [row])[row]
        store.delete(db, row, each.id)
    vault.truncate_wal()


def found(path: Path, *needles: bytes, key: bytes = KEY) -> set[bytes]:
    return pages.occurrences(pages.decrypted(path, key), needles)


def test_a_fresh_memory_stands_in_the_log_and_later_in_the_file(path: Path) -> None:
    log = path.with_name(DATABASE_NAME + "-wal")
    with vault_at(path) as vault:
        put(vault, SAID.decode())
        assert log.stat().st_size > 0
        assert found(path, SAID, b"never said") == {SAID}
        vault.truncate_wal()
        assert log.stat().st_size == 0
        assert found(path, SAID, b"never said") == {SAID}
    assert not log.exists()
    assert found(path, SAID, b"CREATE VIEW memories", b"never said") == {
        SAID,
        b"CREATE VIEW memories",
    }


def test_every_page_of_file_and_log_is_looked_at(path: Path) -> None:
    log = path.with_name(DATABASE_NAME + "-wal")
    with vault_at(path) as vault:
        put(vault, "x" * 50_000)
        frames = (log.stat().st_size - 32) // (24 + pages.PAGE_BYTES)
        whole = path.stat().st_size // pages.PAGE_BYTES + frames
        looked_at = list(pages.decrypted(path, KEY))
        assert len(looked_at) == whole
        assert sum(b"x" * 1_000 in page for page in looked_at) >= 12


def test_a_log_that_breaks_off_is_read_as_far_as_it_goes(path: Path) -> None:
    with vault_at(path) as vault:
        put(vault, SAID.decode())
        before = len(list(pages.decrypted(path, KEY)))
        log = path.with_name(DATABASE_NAME + "-wal")
        copy = path.with_name("copy.db")
        copy.write_bytes(path.read_bytes())
        copy.with_name("copy.db-wal").write_bytes(log.read_bytes()[:-100])
        assert len(list(pages.decrypted(copy, KEY))) == before - 1


def test_another_key_sees_nothing(path: Path) -> None:
    with vault_at(path) as vault:
        put(vault, SAID.decode())
        assert found(path, SAID, key=NEW_KEY) == set()


def test_what_is_erased_is_gone_from_every_page(path: Path) -> None:
    with vault_at(path) as vault:
        rows = [put(vault, f"unforgettable{number} " + "y" * 9_000) for number in range(5)]
        kept = put(vault, SAID.decode())
        erase(vault, rows[2])
        assert found(path, b"unforgettable2", b"unforgettable3", SAID) == {
            b"unforgettable3",
            SAID,
        }
        for row in (*rows[:2], *rows[3:]):
            erase(vault, row)
        assert found(path, b"unforgettable", b"y" * 16, SAID) == {SAID}
        assert list(store_texts(vault)) == [kept]


def test_a_rekey_leaves_no_page_under_the_old_key(path: Path) -> None:
    with vault_at(path) as vault:
        put(vault, SAID.decode())
        vault.rekey(NEW_KEY)
    assert found(path, SAID) == set()
    assert found(path, SAID, key=NEW_KEY) == {SAID}


def test_needles_in_no_page_and_no_needles_are_an_empty_set() -> None:
    assert pages.occurrences([], [b"a"]) == set()
    assert pages.occurrences([os.urandom(32)], []) == set()


@given(st.data())
def test_thousands_of_needles_are_found_as_one_by_one(data: st.DataObject) -> None:
    letters = st.sampled_from([b"a", b"b", b"\0"])
    several = st.lists(letters, max_size=60).map(b"".join)
    searched = data.draw(st.lists(several, max_size=4))
    pieces = [
        page[at : at + size] for page in searched for at in (0, 3, 20) for size in (9, 16, 30)
    ]
    needles = {each for each in [*data.draw(st.lists(several, max_size=20)), *pieces] if each}
    there = {needle for needle in needles if any(needle in page for page in searched)}
    assert pages.occurrences(searched, needles) == there


def store_texts(vault: OpenVault) -> set[int]:
    with vault.reading() as db:
        return {row for (row,) in db.execute("SELECT row FROM memories")}
