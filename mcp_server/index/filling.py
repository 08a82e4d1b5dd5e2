"""Which memories a model reads next, and for how long it leaves that to somebody else: the newest of those that have nothing of it
yet, which is what people ask about.

By the ids, which begin with the time: what another device has sent comes newest first, so its row numbers say little of its age.
The newest are taken as a run, which is read in the order of its row numbers, as that is how the table fills its pages.
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
# Read by row number, then the next newest: SQLite leaves pages half empty that are written backwards. A vector of 192 bytes takes 224 to
# 248 with this, 410 without, 217 if all are written forwards. The bundled model reads so many in some five seconds.
_RUN = 1_024
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
        self._run: list[tuple[int, bytes]] = []  # those of them that come next

    def start_over(self) -> None:
        self.below = 0
        self._waiting = []
        self._run = []

    def next(self, db: "Database") -> list[int]:
        """The rows to read now; none when all were read. They wait until they are `done`."""
        # By the run: looked for by the batch, rows that follow upon the known ones would tear each run apart.
        if (room := _WAITING_MAX - len(self._waiting)) >= _RUN:
            found = vector_store.waiting_rows(
                db, self.table, self.number, after=self.below, limit=room
            )
            self._waiting = sorted([*self._waiting, *found]) if found else self._waiting
            self.below = found[-1][1] if len(found) == room else store.newest_row(db)
        # What is newer than all of the run came after it was begun and goes before it.
        newest = max((memory for _, memory in self._run), default=b"")
        newer = [(row, memory) for memory, row in self._waiting[-_RUN:] if memory > newest]
        self._run = sorted(newer) + self._run
        return [row for row, _ in self._run[:_BATCH]]

    def done(self, rows: Collection[int]) -> None:
        """These were read, here or on another device."""
        gone = set(rows)
        self._waiting = [each for each in self._waiting if each[1] not in gone]
        self._run = [each for each in self._run if each[0] not in gone]

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
