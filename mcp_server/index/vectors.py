"""Finding the nearest vectors. `VectorIndex` is a port: exact search in memory here, a fake or a graph elsewhere.

`ExactIndex` keeps sign bits and four-bit codes of everything, straight from the encrypted rows: a scan over the bits
picks candidates, the codes rescore them. It never touches the disk.
"""

import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mcp_server.index import codes as coding

# So many of the nearest by sign bits are scored with their codes, and of a large index one in 250: among 100,000 and among a
# million vectors that finds what scoring every code would find (0.92 and 0.82 of the true nearest ten, where many are level).
_RESCORED_MIN = 1_000
_RESCORED_SHARE = 250
# Where a filter leaves fewer than one in so many, only theirs are compared.
_FEW = 16
_FAR = np.uint16(2**15)
_GROWTH = 1.5
_SIZE_MIN = 1_024
# Rows are SQLite's, from 1 without gaps worth mentioning; a number out of nowhere must not ask for terabytes.
_ROW_MAX = 100_000_000
_NOWHERE = -1

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]


class VectorIndex(Protocol):
    def add(self, rows: Rows, codes: coding.Codes) -> None:
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
        self._codes = np.zeros((0, dim // 2), np.uint8)
        self._scales = np.zeros(0, np.float32)
        self._signs = np.zeros((coding.words_of(dim), 0), np.uint64)
        self._slots = np.full(0, _NOWHERE, np.int32)
        """Row → where its vector is."""

    def add(self, rows: Rows, codes: coding.Codes) -> None:
        if not len(rows):
            return
        # Of a row that is there twice, the last counts.
        last = len(rows) - 1 - np.unique(rows[::-1], return_index=True)[1]
        rows, codes = rows[last], codes[last]
        assert 0 <= rows[0] <= rows[-1] < _ROW_MAX
        with self._lock:
            self._make_room(len(rows), int(rows[-1]))
            slots = self._slots[rows]
            new = slots == _NOWHERE
            after = self._count + int(np.count_nonzero(new))
            slots[new] = np.arange(self._count, after)
            self._rows[slots], self._codes[slots] = rows, codes
            self._scales[slots] = coding.scales_of(codes)
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
        signs, turned = coding.sign_words(coding.pack4(query[None, :])), coding.turn(query)
        with self._lock:
            number = max(_RESCORED_MIN, 4 * k, self._count // _RESCORED_SHARE)
            slots = self._candidates(signs, number, allowed)
            scores = self._scored(turned, slots)
            best = np.argsort(-scores, kind="stable")[:k]
            return self._rows[slots[best]], scores[best]

    def cosines(self, query: Scores, rows: Rows) -> Scores:
        turned = coding.turn(query)
        found = np.zeros(len(rows), np.float32)
        with self._lock:
            at = np.flatnonzero((rows >= 0) & (rows < len(self._slots)))
            at = at[self._slots[rows[at]] != _NOWHERE]
            found[at] = self._scored(turned, self._slots[rows[at]])
        return found

    def rows(self) -> Rows:
        """Every row, in no order."""
        with self._lock:
            return self._rows[: self._count].copy()

    def has(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether there is a vector of each of these rows."""
        with self._lock:
            return _at(self._slots != _NOWHERE, rows)

    def codes_of(self, rows: Rows) -> tuple[Rows, coding.Codes]:
        """The codes of those of these rows that are there."""
        with self._lock:
            inside = rows[(rows >= 0) & (rows < len(self._slots))]
            slots = self._slots[inside]
            known = slots[slots != _NOWHERE]
            return self._rows[known], self._codes[known]

    def __len__(self) -> int:
        return self._count

    def _candidates(
        self, signs: NDArray[np.uint64], number: int, allowed: NDArray[np.bool_] | None
    ) -> NDArray[np.intp]:
        """Slots of the nearest by sign bits: all if they are not more than `number`, or else that many and those level with the last."""
        usable = None if allowed is None else _at(allowed, self._rows[: self._count])
        left = self._count if usable is None else int(np.count_nonzero(usable))
        among: NDArray[np.intp] | None = None
        if left <= max(number, self._count // _FEW):
            among = np.arange(self._count) if usable is None else np.flatnonzero(usable)
            if left <= number:
                return among
            distance = coding.hamming(self._signs[:, among], signs)
        else:
            distance = coding.hamming(self._signs[:, : self._count], signs)
            if usable is not None:
                np.putmask(distance, ~usable, _FAR)
        # Distances are few different numbers: counting them is faster than any sort.
        within = np.cumsum(np.bincount(distance))
        nearest = np.flatnonzero(distance <= np.searchsorted(within, number))
        nearest = nearest[: 2 * number]  # a thousand copies of one text are as good as all of them
        return nearest if among is None else among[nearest]

    def _scored(self, turned: Scores, slots: NDArray[np.integer]) -> Scores:
        return coding.cosines(self._codes[slots], self._scales[slots], turned)

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
