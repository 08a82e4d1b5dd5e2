"""What the index's thread has to fill with vectors, and for how long it leaves that to somebody else."""

import threading
import time
from collections.abc import Callable

from mcp_server.index.embedder import Embedder
from mcp_server.vault import vector_store


class Filling:
    """A table that one model fills, memory by memory, the oldest first."""

    def __init__(self, table: vector_store.Table, embedder: Embedder, number: int) -> None:
        self.table: vector_store.Table = table
        self.embedder = embedder
        self.number = number
        """The model's, in this vault."""
        self.below = 0
        """Every row up to this one has its vector or is gone."""


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
