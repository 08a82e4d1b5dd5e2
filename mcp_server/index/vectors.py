"""Finding the nearest vectors. `VectorIndex` is a port: exact search in memory here, a fake or a graph elsewhere.

`ExactIndex` keeps sign bits and int8 codes of everything, straight from the encrypted rows: a scan over the bits picks
candidates, the codes rescore them. It never touches the disk.
"""

import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mcp_server.index import codes as coding

# So many of the nearest by sign bits are rescored; 1,000 gave 0.993 of exact recall at 100k vectors, in 4 ms.
_RESCORED_MIN = 1_000
_GROWTH = 1.5

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]


class VectorIndex(Protocol):
    def add(self, rows: Rows, codes: NDArray[np.int8], scales: Scores) -> None:
        """Take in vectors; a row that is there is replaced."""

    def remove(self, rows: Rows) -> None:
        """Forget vectors, and overwrite them; unknown rows are passed over."""

    def search(
        self, query: Scores, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Rows, Scores]:
        """The k nearest rows and their cosines, best first; only rows that `allowed`, indexed by row, says True of."""

    def cosines(self, query: Scores, rows: Rows) -> Scores:
        """The cosine of each of these rows; 0 where there is no vector."""

    def __len__(self) -> int: ...


class ExactIndex:
    """Safe for one writer and many readers."""

    def __init__(self, dim: int) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._rows = np.zeros(0, np.int64)
        self._codes = np.zeros((0, dim), np.int8)
        self._scales = np.zeros(0, np.float32)
        self._signs = np.zeros((0, dim // 8), np.uint8)
        self._slots = np.full(0, -1, np.int64)  # row → where its vector is

    def add(self, rows: Rows, codes: NDArray[np.int8], scales: Scores) -> None:
        if not len(rows):
            return
        with self._lock:
            self._make_room(len(rows), int(rows.max()))
            new = self._slots[rows] < 0
            slots = self._slots[rows]
            slots[new] = np.arange(self._count, self._count + int(new.sum()))
            self._rows[slots], self._codes[slots], self._scales[slots] = rows, codes, scales
            self._signs[slots] = coding.signs(codes)
            self._slots[rows] = slots
            self._count += int(new.sum())

    def remove(self, rows: Rows) -> None:
        with self._lock:
            for row in rows.tolist():
                if row >= len(self._slots) or (slot := int(self._slots[row])) < 0:
                    continue
                last = self._count - 1
                for column in (self._rows, self._codes, self._scales, self._signs):
                    column[slot] = column[last]
                    column[last] = 0
                self._slots[self._rows[slot]] = slot
                self._slots[row] = -1
                self._count = last

    def search(
        self, query: Scores, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Rows, Scores]:
        with self._lock:
            rows = self._rows[: self._count]
            slots = np.arange(self._count)
            if allowed is not None:
                inside = rows < len(allowed)
                slots = (
                    slots[inside & allowed[np.where(inside, rows, 0)]]
                    if len(allowed)
                    else slots[:0]
                )
            rescored = max(_RESCORED_MIN, 4 * k)
            if len(slots) > rescored:
                distance = coding.hamming(self._signs[slots], coding.signs(query[None, :])[0])
                slots = slots[np.argpartition(distance, rescored - 1)[:rescored]]
            scores = self._scored(query, slots)
            best = np.argsort(-scores, kind="stable")[:k]
            return rows[slots[best]].copy(), scores[best]

    def cosines(self, query: Scores, rows: Rows) -> Scores:
        with self._lock:
            inside = (rows >= 0) & (rows < len(self._slots))
            slots = (
                np.where(inside, self._slots[np.where(inside, rows, 0)], -1)
                if len(self._slots)
                else rows * 0 - 1
            )
            found = np.zeros(len(rows), np.float32)
            found[slots >= 0] = self._scored(query, slots[slots >= 0])
            return found

    def rows(self) -> Rows:
        """Every row, in no order."""
        with self._lock:
            return self._rows[: self._count].copy()

    def codes_of(self, rows: Rows) -> tuple[Rows, NDArray[np.int8], Scores]:
        """The codes and scales of those of these rows that are there."""
        with self._lock:
            inside = rows[(rows >= 0) & (rows < len(self._slots))]
            slots = self._slots[inside]
            known = slots[slots >= 0]
            return self._rows[known], self._codes[known], self._scales[known]

    def __len__(self) -> int:
        return self._count

    def _scored(self, query: Scores, slots: NDArray[np.int64]) -> Scores:
        scored: Scores = (self._codes[slots].astype(np.float32) @ query) * self._scales[slots]
        return scored

    def _make_room(self, more: int, row_max: int) -> None:
        if self._count + more > len(self._rows):
            size = max(self._count + more, int(len(self._rows) * _GROWTH), 1024)
            self._rows = _grown(self._rows, size)
            self._codes = _grown(self._codes, size)
            self._scales = _grown(self._scales, size)
            self._signs = _grown(self._signs, size)
        if row_max >= len(self._slots):
            slots = np.full(max(row_max + 1, int(len(self._slots) * _GROWTH), 1024), -1, np.int64)
            slots[: len(self._slots)] = self._slots
            self._slots = slots


def _grown(array: NDArray, size: int) -> NDArray:  # type: ignore[type-arg] # of whatever type it was
    grown = np.zeros((size, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
