"""Many memories' words turned into postings at once: what a segment of the keyword index holds, made in numpy.

The same bytes as term by term with `postings.pack` and `postings.chunks`, in less than half the time.
"""

from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain

import numpy as np

from mcp_server.index import words
from mcp_server.index.postings import REPEATS_MAX, Chunk, chunks_of_many, pack_many

# Some twenty megabytes; a segment of ordinary texts has a quarter of that.
_SPELLINGS_MAX = 100_000


class Inversion:
    """Owns what the memories of one segment say, until it is turned round."""

    def __init__(self) -> None:
        self._numbers = _Numbers()
        self._spellings = _Spellings(self._numbers)
        self._said = array("i")
        self._rows: list[int] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, terms: Iterable[str]) -> None:
        """A memory, by its place in the segment, and the terms of its text; in ascending order."""
        self._add(row, map(self._numbers.__getitem__, terms))

    def add_text(self, row: int, text: str, *, speaker: str | None, when: datetime | None) -> None:
        """The same, of a memory whose terms are those that `words.indexed_terms` says."""
        parts = words.indexed_parts(text, speaker=speaker, when=when)
        spelled = chain.from_iterable(map(str.split, parts))
        self._add(row, chain.from_iterable(map(self._spellings.__getitem__, spelled)))

    def chunks(self) -> Iterator[Chunk]:
        said = np.frombuffer(self._said, np.intc)
        if not len(said):
            return
        numbers = self._numbers
        terms = sorted(numbers)
        # As few bytes as hold it: numpy sorts two of them by radix, in a quarter of the time.
        order = np.empty(len(terms), np.min_scalar_type(len(terms)))
        order[np.fromiter(map(numbers.__getitem__, terms), np.int64, len(terms))] = np.arange(
            len(terms)
        )
        places = order[said]
        rows = np.repeat(np.array(self._rows), np.diff(self._ends, prepend=0))
        by_term = np.argsort(places, kind="stable")  # of one term, the rows stay in order
        places, rows = places[by_term].astype(np.int64), rows[by_term]
        counts = np.ones(len(rows), np.bool_)
        counts[REPEATS_MAX:] = (places[REPEATS_MAX:] != places[:-REPEATS_MAX]) | (
            rows[REPEATS_MAX:] != rows[:-REPEATS_MAX]
        )
        rows = rows[counts]
        starts = np.flatnonzero(np.diff(places[counts], prepend=-1))
        yield from chunks_of_many(terms, *pack_many(rows, starts))

    def _add(self, row: int, numbers: Iterable[int]) -> None:
        self._said.extend(numbers)
        self._rows.append(row)
        self._ends.append(len(self._said))


class _Numbers(dict[str, int]):
    def __missing__(self, term: str) -> int:
        number = self[term] = len(self)
        return number


class _Spellings(dict[str, tuple[int, ...]]):
    def __init__(self, numbers: _Numbers) -> None:
        super().__init__()
        self._numbers = numbers
        self._stemmers = words.Stemmers()

    def __missing__(self, spelling: str) -> tuple[int, ...]:
        bare = spelling.strip(words.AROUND) if spelling.isascii() else spelling
        if bare != spelling:
            numbers = self[bare]
        else:
            terms = words.terms_of_spelling(spelling, self._stemmers)
            numbers = tuple([self._numbers[term] for term in terms])
        if len(spelling) <= words.TERM_CHARS_MAX and len(self) < _SPELLINGS_MAX:
            self[spelling] = numbers
        return numbers
