"""Postings as bytes: which memories say a term, and how often, in as few bytes as decode fast.

Pure. Row numbers are kept as the gaps between them, each as one small integer; a gap that is too large for one is
continued in the next, and a row that says the term several times comes again with a gap of 0. So decoding is one running
sum, whatever the list looks like. A chunk is a sorted handful of terms with their postings, about a quarter of a page.
"""

import itertools
import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

# A word said more often in one memory says nothing more about it.
REPEATS_MAX = 15
# Four chunks of this size and their overhead fill a page of the vault and need no page of their own.
CHUNK_BYTES = 880
_WIDTHS = (1, 2, 4)  # the first byte of a posting says which


class Postings(Struct, frozen=True):
    """The memories that say one term."""

    rows: NDArray[np.int64]
    """Ascending, each once."""
    counts: NDArray[np.uint8]
    """How often each says it."""


class Chunk(Struct, frozen=True):
    terms: str
    """Sorted; a line break before, between and after them."""
    ends: bytes
    """Where each posting ends in the body."""
    body: bytes

    @property
    def first(self) -> str:
        return self.terms[1 : self.terms.index("\n", 1)]


def joined(said: Postings, more: NDArray[np.int64]) -> Postings:
    """The same, as if these rows (ascending, each once) said the term, too."""
    new = np.setdiff1d(more, said.rows, assume_unique=True)
    rows = np.concatenate([said.rows, new])
    order = np.argsort(rows, kind="stable")
    counts = np.concatenate([said.counts, np.ones(len(new), np.uint8)])
    return Postings(rows[order], counts[order])


def pack(rows: NDArray[np.int64]) -> bytes:
    """Ascending numbers from 0 on, with repetitions, as bytes."""
    gaps = rows.copy()
    gaps[1:] -= rows[:-1]
    largest = int(gaps.max(initial=0))
    assert gaps.min(initial=0) >= 0, "rows come in ascending order"
    width = 1 if largest < _full(1) else min(_WIDTHS, key=lambda each: _size(gaps, each))
    full = _full(width)
    if largest >= full:
        continued = gaps // full
        spread = np.full(len(gaps) + int(continued.sum()), full, np.int64)
        spread[np.cumsum(continued + 1) - 1] = gaps - continued * full
        gaps = spread
    return bytes([width]) + gaps.astype(f"<u{width}").tobytes()


def pack_few(rows: Sequence[int]) -> bytes:
    """`pack` of a handful, ten times as fast."""
    gaps = [rows[0], *(after - before for before, after in itertools.pairwise(rows))]
    largest = max(gaps)
    if largest < _full(1):
        return b"\x01" + bytes(gaps)
    in_ones = len(gaps) + sum(gap // _full(1) for gap in gaps)
    if largest < _full(2) and 2 * len(gaps) < in_ones:
        return b"\x02" + struct.pack(f"<{len(gaps)}H", *gaps)
    return pack(np.array(rows, np.int64))


def pack_many(
    rows: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[bytes, NDArray[np.int64]]:
    """`pack` of many, one after the other: where each begins in `rows`, and then where each ends in the bytes.

    They are of one segment: a gap takes two bytes at most."""
    assert rows.max(initial=0) < _full(2), "a segment has fewer rows"
    gaps = np.diff(rows, prepend=0)
    gaps[starts] = rows[starts]
    lengths = np.diff(starts, append=len(rows))
    continued = gaps // _full(1)
    in_twos = 2 * lengths < lengths + np.add.reduceat(continued, starts)
    twos = np.repeat(in_twos, lengths)
    sizes = np.where(twos, 2, 1 + continued)
    sizes[starts] += 1
    ends = np.cumsum(sizes)
    packed = np.full(ends[-1], _full(1), np.uint8)
    packed[(ends - sizes)[starts]] = 1 + in_twos
    packed[ends - 1] = np.where(twos, gaps >> 8, gaps - _full(1) * continued)
    packed[ends[twos] - 2] = gaps[twos] & 0xFF
    return packed.tobytes(), ends[starts + lengths - 1]


def unpack(packed: bytes, start: int = 0, end: int | None = None) -> NDArray[np.int64]:
    """What `pack` was given."""
    width = packed[start]
    end = len(packed) if end is None else end
    gaps = np.frombuffer(packed, f"<u{width}", (end - start - 1) // width, start + 1)
    sums = gaps.cumsum(dtype=np.int64)
    full = _full(width)
    return sums[gaps != full] if int(gaps.max(initial=0)) == full else sums


def counted(repeated: NDArray[np.int64]) -> Postings:
    """Rows that come as often as they say the term, as rows and counts."""
    again = repeated[1:] == repeated[:-1]
    where = np.flatnonzero(again)
    counts = np.ones(len(repeated) - len(where), np.uint8)
    if len(where):
        # The row of the n-th repetition stands n places further to the front without repetitions.
        np.add.at(counts, where - np.arange(len(where)), 1)
        repeated = repeated[np.concatenate(([True], ~again))]
    return Postings(repeated, counts)


def chunks(postings: Iterable[tuple[str, bytes]]) -> Iterator[Chunk]:
    """Sorted terms with their packed postings, cut into chunks."""
    terms: list[str] = []
    packed: list[bytes] = []
    size = 0
    for term, posting in postings:
        added = len(term.encode()) + len(posting) + 2
        if terms and size + added > CHUNK_BYTES:
            yield chunk(terms, packed)
            terms, packed, size = [], [], 0
        terms.append(term)
        packed.append(posting)
        size += added
    if terms:
        yield chunk(terms, packed)


def chunks_of_many(terms: Sequence[str], packed: bytes, ends: NDArray[np.int64]) -> Iterator[Chunk]:
    """`chunks` of sorted terms whose packed postings lie one after the other and end there."""
    lengths = np.fromiter((len(term.encode()) for term in terms), np.int64, len(terms))
    sizes = np.cumsum(lengths + np.diff(ends, prepend=0) + 2)
    at = start = size = 0
    while at < len(terms):
        to = max(at + 1, int(np.searchsorted(sizes, size + CHUNK_BYTES, "right")))
        until = ends[at:to] - start
        held = packed[start : int(ends[to - 1])]
        yield Chunk(_together(terms[at:to]), pack_few(until.tolist()), held)
        at, start, size = to, int(ends[to - 1]), int(sizes[to - 1])


def chunk(terms: list[str], packed: list[bytes]) -> Chunk:
    ends = np.cumsum(np.fromiter(map(len, packed), np.int64, len(packed)))
    return Chunk(_together(terms), pack(ends), b"".join(packed))


def entries(held: Chunk) -> Iterator[tuple[str, bytes]]:
    """All terms of a chunk with their packed postings."""
    start = 0
    for term, end in zip(held.terms[1:-1].split("\n"), unpack(held.ends).tolist(), strict=True):
        yield term, held.body[start:end]
        start = end


def look_up(held: Chunk, term: str) -> NDArray[np.int64] | None:
    """The unpacked posting of a term, or None if the chunk has no such term."""
    at = held.terms.find(f"\n{term}\n")
    if at < 0:
        return None
    number = held.terms.count("\n", 0, at)
    ends = unpack(held.ends)
    return unpack(held.body, int(ends[number - 1]) if number else 0, int(ends[number]))


def _together(terms: Sequence[str]) -> str:
    return "\n" + "\n".join(terms) + "\n"


def _size(gaps: NDArray[np.int64], width: int) -> int:
    return width * (len(gaps) + int((gaps // _full(width)).sum()))


def _full(width: int) -> int:
    """The largest number of so many bytes; it stands for "and more"."""
    return (1 << 8 * width) - 1
