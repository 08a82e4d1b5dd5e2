"""Keyword search: which memories say a word, and how often. An inverted index that lives inside the encrypted vault.

Sealed segments lie in the vault; the newest memories are kept in memory, made from their texts at start, until there are
enough of them for a segment. What is sealed is decided by the vault alone, in one transaction, so a crash loses nothing:
whatever no segment covers is read from the texts again. Nothing of it is ever on the disk in the clear.
"""

import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from mcp_server.index import merging, segments, words
from mcp_server.index.inversion import Inversion
from mcp_server.index.inverting import Inverter, Told, inverted
from mcp_server.index.postings import (
    REPEATS_MAX,
    Chunk,
    Postings,
    counted,
)
from mcp_server.index.precedence import Precedence
from mcp_server.index.segments import Segment
from mcp_server.model import Memory
from mcp_server.vault import listing, store
from mcp_server.vault.db import OpenVault
from shared.clock import from_ms
from shared.errors import UnavailableError

if TYPE_CHECKING:
    from sqlite_utils import Database

# Rows of a new segment. So many texts, at most, are read again at start: a tenth of a second.
SEAL_ROWS = 1_024
# Of a vault whose index has yet to be made, so many times as many of the newest memories are found at once.
_READ_AT_START = 2
_TEXTS_AT_ONCE = 64  # a millisecond or two
# For fewer memories another process would take longer to begin than to read them.
ELSEWHERE_ROWS = 4_096

_Changing = AbstractContextManager[object]


class _Merge(Struct, frozen=True):
    """A segment that is being made of others."""

    old: Sequence[Segment]
    number: int
    made: Iterator[Chunk]
    removals: int
    """How often something had been forgotten when it was begun."""


class LexicalIndex:
    """Owns the unsealed memories and what is known of the sealed ones."""

    def __init__(
        self,
        *,
        seal_rows: int = SEAL_ROWS,
        elsewhere_rows: int = ELSEWHERE_ROWS,
        precedence: Precedence | None = None,
    ) -> None:
        self._seal_rows = seal_rows
        self._elsewhere_rows = elsewhere_rows
        self._inverter: Inverter | None = None
        self._precedence = precedence or Precedence()
        self._lock = threading.Lock()  # of everything below, but for the vault
        self._tidying = threading.Lock()
        self._said: dict[str, dict[int, int]] = {}
        self._counts: dict[int, Counter[str]] = {}
        self._newest = 0  # the highest row ever put
        self._sealed = 0  # the highest row that a segment covers
        self._from = 1  # rows from here on are unsealed in memory, or sealed
        self._sealed_memories = 0
        self._removals = 0
        self._merge: _Merge | None = None

    def __len__(self) -> int:
        """The memories that are found by their words."""
        with self._lock:
            return self._sealed_memories + sum(row > self._sealed for row in self._counts)

    @property
    def sealed(self) -> int:
        """The highest row that lies in the vault's segments."""
        return self._sealed

    @property
    def due(self) -> bool:
        """Whether there are enough new memories for a segment."""
        return self._newest - self._sealed >= self._seal_rows

    @property
    def waiting(self) -> range:
        """The rows whose memories are not found by their words yet."""
        return range(self._sealed + 1, self._from)

    def load(self, db: "Database") -> None:
        """Read what is sealed, and the texts of the newest memories."""
        there = segments.live(db)
        newest = store.newest_row(db)
        with self._lock:
            self._said, self._counts = {}, {}
            self._sealed = there[-1].last_row if there else 0
            self._sealed_memories = sum(segment.memories for segment in there)
            self._from = max(self._sealed, newest - _READ_AT_START * self._seal_rows) + 1
            self._newest = self._from - 1
        for row in store.in_span(db, self._from, newest):
            self.put(row.row, terms_of(row.memory))

    def put(self, row: int, terms: Sequence[str]) -> None:
        """Take in a memory that was committed; one that is there already stays as it is."""
        with self._lock:
            if row <= self._newest:
                return
            self._newest = row
            self._keep(row, terms)

    def lacks(self, row: int) -> bool:
        """Whether `put` would take this memory in."""
        return row > self._newest

    def leave_until(self, row: int) -> None:
        """Memories up to this row were committed. Those that were not `put`, because they are too many to be read at once, `tidy`
        reads piece by piece."""
        with self._lock:
            if row > self._newest:
                self._newest = row
                self._from = row + 1

    def remove(self, db: "Database", doomed: Mapping[int, Sequence[str]]) -> None:
        """Take memories, each a row and its terms, out of the vault, in the transaction that forgets them; `drop` follows when
        that is committed."""
        self._removals += 1
        segments.take_out(db, doomed)

    def drop(self, rows: Iterable[int]) -> None:
        """Let go of memories that were forgotten."""
        with self._lock:
            for row in rows:
                self._sealed_memories -= row <= self._sealed
                self._let_go(row)

    def clear(self, db: "Database") -> None:
        """Empty the index, in a transaction; `load` follows when that is committed."""
        self._removals += 1
        segments.delete_all(db)

    def postings(self, db: "Database", terms: Sequence[str]) -> list[Postings]:
        """For each term, the memories that say it."""
        sealed = segments.rows_with(db, terms)
        # What this snapshot does not have sealed yet; another thread may have sealed it since.
        after = max((segment.last_row for segment in segments.live(db)), default=0)
        found = []
        for term in terms:
            parts = sealed.get(term, [])
            with self._lock:
                newer = [
                    (row, count) for row, count in self._said.get(term, {}).items() if row > after
                ]
            if newer:
                rows, counts = np.array(newer, np.int64).T
                parts = [*parts, np.repeat(rows, counts)]
            joined = parts[0] if len(parts) == 1 else np.concatenate([*parts, _NONE])
            found.append(counted(joined))
        return found

    def tidy(self, vault: OpenVault, changing: _Changing) -> bool:
        """Seal, merge or clean up one piece; whether there was any. `changing` keeps everyone else from changing the vault."""
        with self._tidying:
            removals = self._removals  # before what is read, which a rebuild may make untrue
            with vault.reading() as db:
                there = segments.live(db)
                unused = segments.has_unused(db)
            sealed = there[-1].last_row if there else 0
            if self._newest - sealed >= self._seal_rows:
                self._seal(vault, changing, sealed + 1, removals)
                return True
            self.close()
            if self.waiting:
                self._read_rest(vault, changing)
                return True
            if self._merge is None and unused:
                with changing, vault.writing() as db:
                    segments.delete_some(db)
                return True
            ready = merging.mergeable(there)
            if self._merge is None and ready:
                self._merge = self._begin_merge(vault, changing, ready)
            if self._merge is None:
                return False
            if not self._go_on(self._merge, vault, changing):
                self._merge = None
            return True

    def close(self) -> None:
        """End the other process, if there is one; the next one who needs it begins it anew."""
        if self._inverter is not None:
            self._inverter.close()
            self._inverter = None

    def _seal(self, vault: OpenVault, changing: _Changing, first: int, removals: int) -> None:
        """Write the oldest unsealed memories into a segment of their own."""
        tier = 0
        with self._lock:
            unread = self._from - first
            last = first + self._seal_rows - 1
            counts = {row: each for row, each in self._counts.items() if first <= row <= last}
        if unread > 0:
            # Of very many, what would be merged from several segments is made at once.
            most = self._seal_rows * merging.MERGED_AT_ONCE
            tier = 1 if unread >= most else 0
            last = max(last, min(self._from, first + 2 * most) - 1)
            told = [
                (row - first, text[: words.HEAD_CHARS], speaker, when_ms)
                for row, text, speaker, when_ms in self._read(vault, first, last)
            ]
            made, memories = self._inverted(told), len(told)
        else:
            inversion = Inversion()
            for row, counted_terms in sorted(counts.items()):
                inversion.add(row - first, counted_terms.elements())
            made = list(self._precedence.in_between(inversion.chunks()))
            memories = len(counts)
        # Whoever takes in memories by the thousand would come in between again and again.
        with self._precedence.answering(), changing:
            if self._removals != removals:
                return  # something was forgotten that may be in `made`; once more, without it
            with vault.writing() as db:
                number = segments.begin(db, first_row=first, last_row=last, tier=tier)
                segments.append(db, number, made)
                segments.finish(db, number, memories=memories, instead_of=())
            with self._lock:
                # Who is reading now may still see the vault without this segment: let go of the one before.
                for former in [row for row in self._counts if row < first]:
                    self._let_go(former)
                self._sealed = last
                self._sealed_memories += memories
                self._from = max(self._from, last + 1)

    def _inverted(self, told: Sequence[Told]) -> list[Chunk]:
        if len(told) >= self._elsewhere_rows:
            try:
                self._inverter = self._inverter or Inverter()
                return self._inverter.inverted(told)
            except UnavailableError:
                self.close()  # then here, where it takes longer
        return inverted(self._precedence.in_between(told))

    def _read(
        self, vault: OpenVault, first: int, last: int
    ) -> Iterator[tuple[int, str, str | None, int]]:
        """Row, text, speaker and time, in milliseconds, of memories in the vault."""
        with vault.reading() as db:
            told = listing.told_between(db, first, last)
        for at in self._precedence.in_between(range(0, len(told), _TEXTS_AT_ONCE)):
            yield from told[at : at + _TEXTS_AT_ONCE]

    def _read_rest(self, vault: OpenVault, changing: _Changing) -> None:
        """Take in what is left of very many new memories, too few for a segment."""
        with changing:
            first, last = self._sealed + 1, self._from - 1
            read = [
                (row, words.indexed_terms(text, speaker=speaker, when=from_ms(when_ms)))
                for row, text, speaker, when_ms in self._read(vault, first, last)
            ]
            with self._lock:
                self._from = first
                for row, terms in read:
                    self._keep(row, terms)

    def _begin_merge(
        self, vault: OpenVault, changing: _Changing, old: Sequence[Segment]
    ) -> "_Merge":
        """Begin to make one segment of several that follow each other."""
        removals = self._removals
        first, last = old[0].first_row, old[-1].last_row
        with changing, vault.writing() as db:
            number = segments.begin(db, first_row=first, last_row=last, tier=old[0].tier + 1)
        made = self._precedence.in_between(merging.merged(vault, old))
        return _Merge(old, number, made, removals)

    def _go_on(self, merge: "_Merge", vault: OpenVault, changing: _Changing) -> bool:
        """Write the next piece; whether there is more to write."""
        batch = list(itertools.islice(merge.made, segments.CHUNKS_AT_ONCE))
        with changing:
            if self._removals != merge.removals:
                return False  # with what was forgotten, all that was made so far was deleted
            with vault.writing() as db:
                segments.append(db, merge.number, batch)
                if not batch:
                    memories = sum(segment.memories for segment in merge.old)
                    segments.finish(db, merge.number, memories=memories, instead_of=merge.old)
        return bool(batch)

    def _keep(self, row: int, terms: Sequence[str]) -> None:
        self._counts[row] = counts = Counter(terms)
        for term, count in counts.items():
            self._said.setdefault(term, {})[row] = min(count, REPEATS_MAX)

    def _let_go(self, row: int) -> None:
        for term in self._counts.pop(row, ()):
            rows = self._said[term]
            del rows[row]
            if not rows:
                del self._said[term]


def terms_of(memory: Memory) -> list[str]:
    """What the index holds of a memory: made of what never changes, so that it can be taken out again."""
    return words.indexed_terms(
        memory.text, speaker=memory.speaker, when=memory.occurred_at or memory.created_at
    )


_NONE = np.zeros(0, np.int64)
