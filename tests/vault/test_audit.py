"""The access log: what it says, and that nobody changes it unnoticed."""

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.vault import audit
from mcp_server.vault.audit import IDS_PER_LINE_MAX, Access
from mcp_server.vault.db import DATABASE_NAME, OpenVault
from shared.ids import MemoryId
from tests.builders import NOON, new_id, vault_at

AUDIT_KEY = b"a" * 32
LINES = 8


def write(vault: OpenVault, number: int, *, ids: int = 1) -> Access:
    memories = tuple(new_id() for _ in range(ids))
    line = Access(
        seq=number + 1,
        at=NOON + timedelta(seconds=number),
        client=f"client {number}",
        action="recall" if number % 2 else "remember",
        memories=memories,
        count=ids,
    )
    with vault.writing() as db:
        audit.note(
            db,
            AUDIT_KEY,
            at=line.at,
            client=line.client,
            action=line.action,
            memories=memories,
        )
    return line


def broken_at(vault: OpenVault, key: bytes = AUDIT_KEY) -> int | None:
    with vault.reading() as db:
        return audit.broken_at(db, key)


def read(vault: OpenVault, **wanted: Any) -> list[Access]:
    with vault.reading() as db:
        return audit.lines(db, **{"before": None, "limit": 100} | wanted)


def test_an_empty_log_is_whole(tmp_path: Path) -> None:
    with vault_at(tmp_path / DATABASE_NAME) as vault:
        assert read(vault) == []
        assert broken_at(vault) is None


def test_lines_come_back_newest_first_and_by_pages(tmp_path: Path) -> None:
    with vault_at(tmp_path / DATABASE_NAME) as vault:
        written = [write(vault, number, ids=number) for number in range(LINES)]
        assert read(vault) == written[::-1]
        assert read(vault, limit=3) == written[:-4:-1]
        assert read(vault, before=4, limit=2) == [written[2], written[1]]
        assert read(vault, before=1) == []
        assert broken_at(vault) is None


def test_a_long_line_names_some_memories_and_counts_all(tmp_path: Path) -> None:
    with vault_at(tmp_path / DATABASE_NAME) as vault:
        written = write(vault, 0, ids=IDS_PER_LINE_MAX + 1)
        (line,) = read(vault)
        assert line.count == IDS_PER_LINE_MAX + 1
        assert line.memories == written.memories[:IDS_PER_LINE_MAX]
        assert broken_at(vault) is None


def test_an_undone_change_leaves_no_line(tmp_path: Path) -> None:
    with vault_at(tmp_path / DATABASE_NAME) as vault:
        write(vault, 0)

        def fail() -> None:
            with vault.writing() as db:
                audit.note(db, AUDIT_KEY, at=NOON, client="x", action="read", memories=[])
                raise RuntimeError("the change did not happen")

        with pytest.raises(RuntimeError, match="did not happen"):
            fail()
        write(vault, 1)
        assert [line.seq for line in read(vault)] == [2, 1]
        assert broken_at(vault) is None


def test_without_the_key_no_line_can_be_made(tmp_path: Path) -> None:
    with vault_at(tmp_path / DATABASE_NAME) as vault:
        write(vault, 0)
        with vault.writing() as db:
            audit.note(db, b"b" * 32, at=NOON, client="forger", action="read", memories=[])
        assert broken_at(vault) == 2
        assert broken_at(vault, b"b" * 32) == 1


CHANGES: dict[str, tuple[str, int]] = {
    "the time": ("UPDATE access_log SET at_ms = at_ms + 1 WHERE seq = 3", 3),
    "the client": ("UPDATE access_log SET client = 'somebody' WHERE seq = 3", 3),
    "the action": ("UPDATE access_log SET action = 'read' WHERE seq = 3", 3),
    "a memory": ("UPDATE access_log SET memories = zeroblob(16) WHERE seq = 3", 3),
    "no memories": ("UPDATE access_log SET memories = x'' WHERE seq = 3", 3),
    "the count": ("UPDATE access_log SET count = 0 WHERE seq = 3", 3),
    "the hash": ("UPDATE access_log SET hash = zeroblob(32) WHERE seq = 3", 3),
    "bytes moved between fields": (
        "UPDATE access_log SET client = client || 're', action = substr(action, 3) WHERE seq = 3",
        3,
    ),
    "first line dropped": ("DELETE FROM access_log WHERE seq = 1", 1),
    "line dropped": ("DELETE FROM access_log WHERE seq = 4", 4),
    "line dropped and closed up": (
        (
            "DELETE FROM access_log WHERE seq = 4; UPDATE access_log SET seq = -seq + 1 WHERE seq > 4;"
            "UPDATE access_log SET seq = -seq WHERE seq < 0"
        ),
        4,
    ),
    "line repeated": (
        "INSERT INTO access_log SELECT 9, at_ms, client, action, memories, count, hash FROM access_log WHERE seq = 8",
        9,
    ),
    "two lines swapped": (
        (
            "UPDATE access_log SET seq = -1 WHERE seq = 2; UPDATE access_log SET seq = 2 WHERE seq = 5;"
            "UPDATE access_log SET seq = 5 WHERE seq = -1"
        ),
        2,
    ),
    "line put in front": (
        "INSERT INTO access_log SELECT 0, at_ms, client, action, memories, count, hash FROM access_log WHERE seq = 1",
        1,
    ),
}


@pytest.mark.parametrize(("statements", "line"), CHANGES.values(), ids=CHANGES)
def test_a_changed_log_is_found_at_the_line(tmp_path: Path, statements: str, line: int) -> None:
    with vault_at(tmp_path / DATABASE_NAME) as vault:
        for number in range(LINES):
            write(vault, number)
        with vault.writing() as db:
            for statement in statements.split(";"):
                db.execute(statement)
        assert broken_at(vault) == line


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log whose lines are stored apart, so that any order of any of them can be tried."""
    return tmp_path_factory.mktemp("log") / DATABASE_NAME


@given(order=st.lists(st.integers(0, LINES - 1), max_size=LINES), renumber=st.booleans())
def test_only_an_unbroken_beginning_of_the_log_passes_for_whole(
    log: Path, order: list[int], renumber: bool
) -> None:
    with vault_at(log) as vault, vault.writing() as db:
        db.execute("DELETE FROM access_log")
        for number in range(LINES):
            _note(db, number)
        lines = list(
            db.execute("SELECT at_ms, client, action, memories, count, hash FROM access_log")
        )
        db.execute("DELETE FROM access_log")
        kept: dict[int, tuple[Any, ...]] = {}
        for place, number in enumerate(order, 1):
            kept.setdefault(place if renumber else number + 1, lines[number])
        for seq, line in kept.items():
            db.execute(
                "INSERT INTO access_log (seq, at_ms, client, action, memories, count, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [seq, *line],
            )
        whole = [kept[seq] for seq in sorted(kept)] == lines[: len(kept)] and sorted(kept) == list(
            range(1, len(kept) + 1)
        )
        assert (audit.broken_at(db, AUDIT_KEY) is None) == whole


def _note(db: Any, number: int) -> None:
    source = random.Random(number)
    audit.note(
        db,
        AUDIT_KEY,
        at=NOON + timedelta(seconds=number),
        client=f"client {number}",
        action="read",
        memories=[MemoryId(f"0199f2f4-9c1e-7a10-8f7e-{source.randrange(16**12):012x}")],
    )


@given(
    client=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    ids=st.integers(0, 3),
)
def test_whatever_is_noted_is_read_again(log: Path, client: str, ids: int) -> None:
    memories = [new_id() for _ in range(ids)]
    with vault_at(log) as vault, vault.writing() as db:
        db.execute("DELETE FROM access_log")
        for _ in range(2):
            audit.note(
                db,
                AUDIT_KEY,
                at=NOON,
                client=client,
                action="export",
                memories=memories,
            )
        assert audit.lines(db, before=None, limit=1) == [
            Access(
                seq=2,
                at=NOON,
                client=client,
                action="export",
                memories=tuple(memories),
                count=ids,
            )
        ]
        assert audit.broken_at(db, AUDIT_KEY) is None
