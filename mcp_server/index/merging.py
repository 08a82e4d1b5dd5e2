"""Several segments of the keyword index that follow each other, as one: which are due for it, and what the one then holds.

Read bit by bit, so that nobody who wants to empty the vault's log has to wait for it. Decides and reads; `lexical` writes.
"""

import heapq
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from mcp_server.index import segments
from mcp_server.index.postings import Chunk, chunks, entries, pack, unpack
from mcp_server.index.segments import Segment
from mcp_server.vault.db import OpenVault

# So many segments of one size become one: a question then looks into some twenty of them at a million memories, and a
# memory is written anew three times on the way there.
MERGED_AT_ONCE = 8
_CHUNKS_READ = 64


def mergeable(there: Sequence[Segment]) -> Sequence[Segment]:
    """The oldest segments of the smallest size of which there are enough, one after the other."""
    runs = [list(run) for _, run in itertools.groupby(there, key=lambda segment: segment.tier)]
    full = [run for run in runs if len(run) >= MERGED_AT_ONCE]
    return min(full, key=lambda run: run[0].tier)[:MERGED_AT_ONCE] if full else ()


def merged(vault: OpenVault, old: Sequence[Segment]) -> Iterator[Chunk]:
    """What these segments hold together, counted from the first one's first row."""
    return chunks(_merged([_walk(vault, segment) for segment in old], old[0].first_row))


def _walk(vault: OpenVault, segment: Segment) -> Iterator[tuple[str, int, bytes]]:
    """All terms of a segment in order, with its first row and their packed postings."""
    after = ""
    while True:
        with vault.reading() as db:
            read: list[Chunk] = segments.chunks_after(db, segment.number, after, limit=_CHUNKS_READ)
        if not read:
            return
        for each in read:
            for term, packed in entries(each):
                yield term, segment.first_row, packed
        after = read[-1].first


def _merged(
    walks: Sequence[Iterator[tuple[str, int, bytes]]], first_row: int
) -> Iterator[tuple[str, bytes]]:
    in_order = heapq.merge(*walks)  # of one term, the earlier rows first
    for term, same in itertools.groupby(in_order, key=lambda each: each[0]):
        parts = [unpack(packed) + (start - first_row) for _, start, packed in same]
        yield term, pack(np.concatenate(parts))
