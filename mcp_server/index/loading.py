"""Filling the indexes from the vault at start, some at a time: nobody who stores a memory meanwhile waits for all of it.

What changes while one of them loads is read once more at the end, by whoever keeps the list of it.
"""

import threading
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

import numpy as np

from mcp_server.index.catalogue import Catalogue, Entry
from mcp_server.index.neighbours import Neighbours
from mcp_server.vault import listing, vector_store
from mcp_server.vault.db import OpenVault

if TYPE_CHECKING:
    from sqlite_utils import Database

BATCH = 20_000


def list_all(vault: OpenVault, catalogue: Catalogue, *, stop: threading.Event) -> int:
    """Load the lines of all memories; the last row. `catalogue.join` follows."""
    last, whole = 0, True
    while whole and not stop.is_set():
        with vault.reading() as db:
            batch = listing.after(db, last, limit=BATCH)
        catalogue.load(batch)
        last = batch[-1][0] if batch else last
        whole = len(batch) == BATCH
    return last


def list_again(db: "Database", catalogue: Catalogue, rows: AbstractSet[int]) -> None:
    """What was changed or forgotten after the catalogue had read it."""
    there = {fields[0]: Entry(*fields) for fields in listing.of(db, rows)}
    for row in rows:
        if row in there:
            catalogue.put(there[row])
        else:
            catalogue.remove(row)


def take_in(
    vault: OpenVault, vectors: Neighbours, model: int, *, after: int, stop: threading.Event
) -> int:
    """Load all vectors of a model after a row; the last row."""
    whole = True
    while whole and not stop.is_set():
        with vault.reading() as db:
            rows, code = vector_store.load(db, model, after=after, limit=BATCH)
        vectors.add(rows, code)
        after = int(rows[-1]) if len(rows) else after
        whole = len(rows) == BATCH
    return after


def take_in_again(
    vault: OpenVault, vectors: Neighbours, model: int, changed: AbstractSet[int]
) -> None:
    """Those that were written or forgotten after they had been read."""
    wanted = np.array(sorted(changed), np.int64)
    with vault.reading() as db:
        rows, code = vector_store.load_rows(db, model, wanted.tolist())
    gone = np.setdiff1d(wanted, rows)
    gone = gone[vectors.has(gone)]
    if len(gone):
        vectors.remove(gone)
    vectors.add(rows, code)
