"""Which memories a model reads next, and for how long it leaves that to somebody else: the newest of those that have nothing of it
yet, which is what people ask about.

By the ids, which begin with the time: what another device has sent comes newest first, so its row numbers say little of its age.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from mcp_server.index import late
from mcp_server.index.embedder import Embedder
from mcp_server.index.entries import memory_text
from mcp_server.vault import store, vector_store

if TYPE_CHECKING:
    from sqlite_utils import Database

# One batch is one transaction and holds the write lock for some 150 ms of embedding; a `remember` meanwhile waits no longer.
_BATCH = 32
# Known at a time to be waiting, so that a vault of millions takes no time to look through and no memory to speak of.
_WAITING_MAX = 16_384


class Filling:
    """A table that one model fills, some memories at a time."""

    def __init__(self, table: vector_store.Table, embedder: Embedder, number: int) -> None:
        self.table: vector_store.Table = table
        self.embedder = embedder
        self.number = number
        """The model's, in this vault."""
        self.below = 0
        """Every row up to this one has its vector, is gone, or waits here."""
        self._waiting: list[tuple[bytes, int]] = []

    def start_over(self) -> None:
        self.below = 0
        self._waiting = []

    def next(self, db: "Database") -> list[int]:
        """The rows to read now, the newest last; none when all were read. They wait until they are `done`."""
        if room := _WAITING_MAX - len(self._waiting):
            found = vector_store.waiting_rows(
                db, self.table, self.number, after=self.below, limit=room
            )
            self._waiting = sorted([*self._waiting, *found]) if found else self._waiting
            self.below = found[-1][1] if len(found) == room else store.newest_row(db)
        return [row for _, row in self._waiting[-_BATCH:]]

    def done(self, rows: Collection[int]) -> None:
        """These were read, here or on another device."""
        gone = set(rows)
        self._waiting = [each for each in self._waiting if each[1] not in gone]

    def read(self, waiting: Sequence[tuple[int, str, str | None]]) -> list[Any]:
        """What the model makes of each row's text and speaker."""
        texts = [memory_text(text, speaker) for _, text, speaker in waiting]
        if self.table == "token_codes":
            return [late.encode(self.embedder.tokens(text).states) for text in texts]
        return list(self.embedder.embed(texts)) if texts else []


class Hold:
    """While vectors may come from another device, none are made here; never for longer than was asked for last, whatever happens
    to whoever asked."""

    def __init__(
        self, wake: threading.Event, *, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._wake = wake
        self._seconds = seconds
        self._until = 0.0

    def keep(self, seconds: float) -> None:
        self._until = self._seconds() + seconds

    def end(self) -> None:
        if self._until:
            self._until = 0.0
            self._wake.set()

    def left_seconds(self) -> float:
        return max(0.0, self._until - self._seconds())
