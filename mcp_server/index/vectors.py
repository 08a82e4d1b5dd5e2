"""Finding the nearest vectors. `VectorIndex` is a port: exact search in memory here, a fake or a graph elsewhere.

`ExactIndex` keeps sign bits and int8 codes of everything, straight from the encrypted rows: a scan over the bits picks
candidates, the codes rescore them. It never touches the disk.
"""

import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mcp_server.index import codes as coding

# So many of the nearest by sign bits are scored with their codes, and of a large index one in 250: that holds 0.991 of the true
# nearest ten among 100,000 vectors and 0.987 among a million, where 1,000 alone hold 0.967.
_RESCORED_MIN = 1_000
_RESCORED_SHARE = 250
_GROWTH = 1.5
_SIZE_MIN = 1_024
# Rows are SQLite's, from 1 without gaps worth mentioning; a number out of nowhere must not ask for terabytes.
_ROW_MAX = 100_000_000
_NOWHERE = -1

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
        self._signs = np.zeros((coding.words_of(dim), 0), np.uint64)
        self._slots = np.full(0, _NOWHERE, np.int32)
        """Row → where its vector is."""

    def add(self, rows: Rows, codes: NDArray[np.int8], scales: Scores) -> None:
        if not len(rows):
            return
        # Of a row that is there twice, the last counts.
        last = len(rows) - 1 - np.unique(rows[::-1], return_index=True)[1]
        rows, codes, scales = rows[last], codes[last], scales[last]
        assert 0 <= rows[0] <= rows[-1] < _ROW_MAX
        with self._lock:
            self._make_room(len(rows), int(rows[-1]))
            slots = self._slots[rows]
            new = slots == _NOWHERE
            after = self._count + int(np.count_nonzero(new))
            slots[new] = np.arange(self._count, after)
            self._rows[slots], self._codes[slots], self._scales[slots] = rows, codes, scales
            self._signs[:, slots] = coding.sign_words(codes)
            self._slots[rows] = slots
            self._count = after

    def remove(self, rows: Rows) -> None:
        with self._lock:
            for row in rows.tolist():
                if 0 <= row < len(self._slots) and (slot := int(self._slots[row])) != _NOWHERE:
                    self._drop(row, slot)

    def search(
        self, query: Scores, k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[Rows, Scores]:
        with self._lock:
            slots = self._candidates(
                query, max(_RESCORED_MIN, 4 * k, self._count // _RESCORED_SHARE), allowed
            )
            scores = self._scored(query, slots)
            best = np.argsort(-scores, kind="stable")[:k]
            return self._rows[slots[best]], scores[best]

    def cosines(self, query: Scores, rows: Rows) -> Scores:
        found = np.zeros(len(rows), np.float32)
        with self._lock:
            at = np.flatnonzero((rows >= 0) & (rows < len(self._slots)))
            at = at[self._slots[rows[at]] != _NOWHERE]
            found[at] = self._scored(query, self._slots[rows[at]])
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
            known = slots[slots != _NOWHERE]
            return self._rows[known], self._codes[known], self._scales[known]

    def __len__(self) -> int:
        return self._count

    def _candidates(
        self, query: Scores, number: int, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.intp]:
        """Slots of the nearest by sign bits: all if they are not more than `number`, or else that many and those level with the last."""
        if allowed is None:
            usable = np.ones(self._count, np.bool_)
        else:
            usable = _at(allowed, self._rows[: self._count])
        if np.count_nonzero(usable) <= number:
            return np.flatnonzero(usable)
        distance = coding.hamming(self._signs[:, : self._count], coding.sign_words(query[None, :]))
        # Distances are few different numbers: counting them is faster than any sort.
        within = np.cumsum(np.bincount(distance[usable]))
        nearest = np.flatnonzero(usable & (distance <= np.searchsorted(within, number)))
        return nearest[: 2 * number]  # a thousand copies of one text are as good as all of them

    def _scored(self, query: Scores, slots: NDArray[np.integer]) -> Scores:
        scored: Scores = (self._codes[slots].astype(np.float32) @ query) * self._scales[slots]
        return np.clip(scored, -1, 1)

    def _drop(self, row: int, slot: int) -> None:
        """The last vector moves to where the dropped one was, and zeros to where the last one was."""
        last = self._count - 1
        self._slots[self._rows[last]] = slot
        self._slots[row] = _NOWHERE
        for column in (self._rows, self._codes, self._scales, self._signs.T):
            column[slot] = column[last]
            column[last] = 0
        self._count = last

    def _make_room(self, more: int, row_max: int) -> None:
        if self._count + more > len(self._rows):
            size = max(self._count + more, int(len(self._rows) * _GROWTH), _SIZE_MIN)
            self._rows = _grown(self._rows, size)
            self._codes = _grown(self._codes, size)
            self._scales = _grown(self._scales, size)
            self._signs = np.ascontiguousarray(_grown(self._signs.T, size).T)
        if row_max >= len(self._slots):
            size = max(row_max + 1, int(len(self._slots) * _GROWTH), _SIZE_MIN)
            slots = np.full(size, _NOWHERE, np.int32)
            slots[: len(self._slots)] = self._slots
            self._slots = slots


def _at(allowed: NDArray[np.bool_], rows: Rows) -> NDArray[np.bool_]:
    """What `allowed` says of each row; it says False of rows beyond its end."""
    if not len(allowed):
        return np.zeros(len(rows), np.bool_)
    return allowed[np.minimum(rows, len(allowed) - 1)] & (rows < len(allowed))


def _grown(array: NDArray, size: int) -> NDArray:  # type: ignore[type-arg] # of whatever type it was
    grown = np.zeros((size, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    array.fill(0)  # or a vector removed later would live on in memory given back
    return grown
