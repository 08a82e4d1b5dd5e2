"""Which vectors are nearest, at any size: an exact scan in memory, and Chroma's graph beside it for large vaults.

The exact index has every vector and answers whenever the graph is not there, not complete, or being made anew. The graph
is opened only above a size where a scan takes longer, from the start, or not at all, as the person's settings say. Forgetting empties the graph's
folder at once, because Chroma itself never erases; it is then made anew from what is left.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server.index.chroma import Batch, ChromaIndex, CodesOf
from mcp_server.index.codes import Codes
from mcp_server.index.vectors import ExactIndex, Rows, Scores
from shared.errors import SunaivaError, UnavailableError

_log = logging.getLogger(__name__)

# Up to here a scan of everything is quicker than asking a graph for the four hundred that ranking wants, at an eighth of the memory.
GRAPH_FROM = 3_000_000
_BATCH = 10_000


class GraphOnDisk(Struct, frozen=True):
    """Where a graph is or may be."""

    folder: Path
    open: Callable[[int, CodesOf], ChromaIndex]
    """Opens it for vectors of so many dimensions."""

    def drop(self) -> None:
        """Delete a graph that is not open; it is made anew from the vectors when it is wanted.

        Raises:
            UnavailableError: it cannot be deleted.
        """
        try:
            shutil.rmtree(self.folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UnavailableError(
                f"{self.folder} holds vectors that are to be gone, and cannot be removed: {error.strerror}. Remove it by hand."
            ) from error


class Neighbours:
    """A `VectorIndex` for one writer and many readers. Close it."""

    def __init__(
        self, dim: int, graph: GraphOnDisk | None, *, graph_from: int = GRAPH_FROM
    ) -> None:
        self._exact = ExactIndex(dim)
        self._dim = dim
        self._on_disk = graph
        self._opening = threading.Lock()
        self._graph_from = graph_from
        self._graph: ChromaIndex | None = None
        self._ready = False
        self._making = threading.Thread(target=self._make, name="graph", daemon=True)
        self._due = threading.Event()
        self._interrupted = threading.Event()
        self._closing = False

    def settle(self) -> None:
        """Call when vectors were loaded or added: from the size where a graph pays, one is opened, and completed."""
        if (
            self._on_disk is None
            or len(self._exact) < self._graph_from
            or self._ready
            or self._closing
        ):
            return
        if not self._making.is_alive():
            self._making.start()
        self._due.set()

    def add(self, rows: Rows, codes: Codes) -> None:
        self._exact.add(rows, codes)
        if self._graph is not None:
            self._graph.add(rows, codes)

    def remove(self, rows: Rows) -> None:
        """Forget vectors, in memory and on the disk."""
        self._exact.remove(rows)
        with self._opening:
            graph = self._graph
            if graph is None and self._on_disk is not None:
                self._on_disk.drop()
        if graph is not None:
            self._ready = False
            self._interrupted.set()  # whoever forgets does not wait until a large graph is complete
            graph.remove(rows)
            graph.rebuild(())
            self._due.set()

    def left_on_disk(self, rows: Rows) -> bool:
        """Whether a vector of any of these rows may be on the disk outside of the vault."""
        graph = self._graph
        if graph is None:
            return self._on_disk is not None and self._on_disk.folder.exists()
        return graph.holds_removed() or bool(np.isin(rows, graph.rows()).any())

    def search(
        self, query: Scores, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Rows, Scores]:
        graph = self._graph if self._ready else None
        return (graph or self._exact).search(query, k, allowed)

    def cosines(self, query: Scores, rows: Rows) -> Scores:
        return self._exact.cosines(query, rows)

    def has(self, rows: Rows) -> NDArray[np.bool_]:
        return self._exact.has(rows)

    def __len__(self) -> int:
        return len(self._exact)

    def close(self) -> None:
        """Whoever still searches is answered from memory."""
        self._ready = False
        self._closing = True
        self._interrupted.set()
        self._due.set()
        if self._making.is_alive():
            self._making.join()
        if self._graph is not None:
            self._graph.close()

    def _make(self) -> None:
        assert self._on_disk is not None
        try:
            with self._opening:
                self._graph = self._on_disk.open(self._dim, self._exact.codes_of)
            while not self._closing:
                self._due.clear()
                self._interrupted.clear()
                if not self._agrees(self._graph):
                    self._graph.rebuild(self._batches())
                self._ready = self._agrees(self._graph)
                if self._ready or self._closing:
                    self._due.wait()
        except SunaivaError as error:
            # Nothing is lost but speed: the exact index goes on.
            _log.warning("searching without a graph: %s", error)
            self._graph = None

    def _agrees(self, graph: ChromaIndex) -> bool:
        # Not by number alone: after a crash one may be missing and another one too many.
        return not graph.holds_removed() and np.array_equal(
            graph.rows(), np.sort(self._exact.rows())
        )

    def _batches(self) -> Iterator[Batch]:
        rows = self._exact.rows()
        for start in range(0, len(rows), _BATCH):
            if self._interrupted.is_set():
                return
            yield self._exact.codes_of(rows[start : start + _BATCH])
