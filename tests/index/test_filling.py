"""In which order a model reads what waits for it, and what that makes of the table."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mcp_server.index.filling import Filling
from mcp_server.model import Memory
from mcp_server.vault import store, vector_store
from mcp_server.vault.db import DATABASE_NAME, OpenVault
from tests.builders import memory, vault_at
from tests.fakes import HashEmbedder

if TYPE_CHECKING:
    from sqlite_utils import Database

RUN = 1_024
BATCH = 32
CODE_BYTES = 192  # of 384 dimensions


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[OpenVault]:
    with vault_at(tmp_path / DATABASE_NAME) as vault:
        yield vault


def filling(db: "Database") -> Filling:
    return Filling("vectors", HashEmbedder(), vector_store.model_number(db, "hash"))


def made(number: int) -> list[Memory]:
    """The oldest first."""
    return [memory(f"memory {at}") for at in range(number)]


def arrive(db: "Database", memories: Sequence[Memory]) -> list[int]:
    return [store.insert(db, each, bytes(16)) for each in memories]


def read_some(db: "Database", filling: Filling) -> list[int]:
    """One batch: its rows, which have vectors now."""
    rows = filling.next(db)
    code = np.zeros((len(rows), CODE_BYTES), np.uint8)
    vector_store.put(db, filling.table, filling.number, rows, code)
    filling.done(rows)
    return rows


def read_all(db: "Database", filling: Filling) -> list[int]:
    rows: list[int] = []
    while some := read_some(db, filling):
        assert len(some) <= BATCH
        rows += some
    return rows


def table_bytes(db: "Database") -> int:
    """What the pages of the vectors weigh: so many are free once it is gone."""
    before = pragma(db, "freelist_count")
    db.execute("DROP TABLE vectors")
    return (pragma(db, "freelist_count") - before) * pragma(db, "page_size")


def pragma(db: "Database", name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def test_a_handful_is_read_at_once(vault: OpenVault) -> None:
    with vault.writing() as db:
        rows, reader = arrive(db, made(5)), filling(db)
        assert read_some(db, reader) == rows
        assert read_some(db, reader) == []


def test_the_newest_run_is_read_first_and_each_from_its_lowest_row_up(vault: OpenVault) -> None:
    with vault.writing() as db:
        rows = arrive(db, made(RUN + 48))
        assert read_all(db, filling(db)) == rows[48:] + rows[:48]


def test_the_newest_run_is_read_first_though_it_came_first(vault: OpenVault) -> None:
    memories = made(RUN + 48)
    with vault.writing() as db:
        newest, oldest = arrive(db, memories[48:]), arrive(db, memories[:48])
        assert read_all(db, filling(db)) == newest + oldest


def test_what_comes_while_a_run_is_read_goes_before_the_rest_of_it(vault: OpenVault) -> None:
    with vault.writing() as db:
        rows, reader = arrive(db, made(RUN)), filling(db)
        assert read_some(db, reader) == rows[:BATCH]
        new = arrive(db, made(3))
        assert read_some(db, reader)[:3] == new
        newer = arrive(db, made(RUN))
        assert read_all(db, reader) == newer + rows[2 * BATCH - 3 :]


def test_what_comes_late_and_is_older_than_the_run_waits_for_it(vault: OpenVault) -> None:
    memories = made(RUN + 3)
    with vault.writing() as db:
        rows, reader = arrive(db, memories[3:]), filling(db)
        assert read_some(db, reader) == rows[:BATCH]
        old = arrive(db, memories[:3])
        assert read_all(db, reader) == rows[BATCH:] + old


def test_what_another_device_has_read_leaves_the_run(vault: OpenVault) -> None:
    with vault.writing() as db:
        rows, reader = arrive(db, made(3 * BATCH)), filling(db)
        assert reader.next(db) == rows[:BATCH]
        reader.done(rows[: 2 * BATCH])
        assert read_all(db, reader) == rows[2 * BATCH :]


def test_the_pages_of_what_is_read_newest_first_are_full(vault: OpenVault) -> None:
    with vault.writing() as db:
        number = len(arrive(db, made(3 * RUN)))
        reader = filling(db)
    # One transaction each, as in use.
    for _ in range(number // BATCH):
        with vault.writing() as db:
            assert read_some(db, reader)
    with vault.writing() as db:
        assert table_bytes(db) < 1.25 * CODE_BYTES * number
