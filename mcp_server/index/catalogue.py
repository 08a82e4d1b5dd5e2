"""What ranking needs to know of every memory, as columns in memory: filters and neighbours without a query.

A projection of the vault (made anew at each start, never written to disk), indexed by row number. It holds no text.
One thread writes (the vault's writer), any number read; a reader that holds a column sees a state that was true.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar, get_args

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from mcp_server.model import Kind, Trust

NOBODY = -1
"""No row, no speaker, no conversation."""
ALWAYS_MS = np.iinfo(np.int64).max

TRUSTS: tuple[Trust, ...] = get_args(Trust)
_KIND_CODES: dict[str, int] = {kind: number for number, kind in enumerate(get_args(Kind))}
_TRUST_CODES: dict[str, int] = {trust: number for number, trust in enumerate(TRUSTS)}
_GROWTH = 1.5
# Speakers of every log of an assistant: a question that says "user" means none of them.
_NOBODY_IN_PARTICULAR = frozenset({"user", "assistant", "tool"})
_Name = TypeVar("_Name", bound=Hashable)
_COLUMNS: dict[str, tuple[Any, int]] = {
    "live": (np.bool_, 0),
    "hidden": (np.bool_, 0),
    "pinned": (np.bool_, 0),
    "question": (np.bool_, 0),
    "kind": (np.int8, NOBODY),
    "trust": (np.int8, NOBODY),
    "space": (np.int32, NOBODY),
    "speaker": (np.int32, NOBODY),
    "conversation": (np.int32, NOBODY),
    "position": (np.int64, NOBODY),
    "previous": (np.int32, NOBODY),
    "following": (np.int32, NOBODY),
    "when_ms": (np.int64, 0),
    "valid_from_ms": (np.int64, 0),
    "valid_to_ms": (np.int64, ALWAYS_MS),
    "chars": (np.int32, 0),
    "importance": (np.float32, 0),
    "flags": (np.uint8, 0),
}


class Entry(Struct, frozen=True):
    """One memory's line of the catalogue; the fields of `vault.listing`, in its order."""

    row: int
    space: str
    kind: Kind
    trust: Trust
    speaker: str | None
    conversation: str | None
    position: int | None
    when_ms: int
    valid_from_ms: int
    valid_to_ms: int | None
    hidden: bool
    """Superseded or archived: out of ordinary recall, in reach of `as_of`."""
    chars: int
    question: bool
    """Its text asks something; the turn after it may answer."""
    pinned: bool
    importance: float
    flags: int = 0
    """Its cues: the bits of `phrases`."""


class Filter(Struct, frozen=True, kw_only=True):
    """What a recall may see. `None` asks nothing."""

    spaces: tuple[str, ...] | None = None
    kinds: tuple[Kind, ...] | None = None
    speaker: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    as_of_ms: int | None = None
    """See the memories as they were true at this instant, superseded ones among them."""


class _InForce(Struct, frozen=True):
    """A mask that is still right until the clock or the columns change."""

    columns: dict[str, NDArray[Any]]
    mask: NDArray[np.bool_]
    since_ms: int
    until_ms: int


class Catalogue:
    """The columns, and the names behind their codes."""

    def __init__(self) -> None:
        self.columns = {name: np.full(0, empty, dtype) for name, (dtype, empty) in _COLUMNS.items()}
        self.speakers: dict[str, int] = {}
        self._speakers_by_word: dict[str, set[int]] = {}
        self._spaces: dict[str, int] = {}
        # A name is one conversation in each space.
        self._conversations: dict[tuple[str, str], int] = {}
        self._last: dict[
            int, int
        ] = {}  # conversation → its last row, where nearly every new turn goes
        self._in_force: _InForce | None = None

    def load(self, entries: Sequence[Sequence[Any]]) -> None:
        """Take in memories of `vault.listing` that are not here yet, many at once. `join` when all are in."""
        if not entries:
            return
        fields = dict(zip(Entry.__struct_fields__, zip(*entries, strict=True), strict=True))
        rows = np.array(fields["row"], np.int64)
        self._make_room(int(rows.max()) + 1)
        columns = self.columns
        for name in ("when_ms", "valid_from_ms", "chars", "importance", "flags"):
            columns[name][rows] = fields[name]
        for name in ("hidden", "question", "pinned"):
            columns[name][rows] = np.array(fields[name], np.bool_)
        columns["position"][rows] = _or_else(fields["position"], NOBODY)
        columns["valid_to_ms"][rows] = _or_else(fields["valid_to_ms"], ALWAYS_MS)
        columns["kind"][rows] = [_KIND_CODES[kind] for kind in fields["kind"]]
        columns["trust"][rows] = [_TRUST_CODES[trust] for trust in fields["trust"]]
        columns["space"][rows] = [_code(self._spaces, space) for space in fields["space"]]
        columns["speaker"][rows] = [self._speaker(name) for name in fields["speaker"]]
        columns["conversation"][rows] = [
            self._conversation(space, name)
            for space, name in zip(fields["space"], fields["conversation"], strict=True)
        ]
        columns["live"][rows] = True
        self._in_force = None

    def join(self) -> None:
        """Find the neighbours of everything loaded."""
        self._link(np.flatnonzero(self.columns["conversation"] != NOBODY))

    def add(self, entries: Sequence[Sequence[Any]]) -> None:
        """Take in many new memories, neighbours and all."""
        self.load(entries)
        rows = np.array([entry[0] for entry in entries], np.int64)
        conversation = self.columns["conversation"]
        joined = np.unique(conversation[rows]) if len(rows) else rows
        joined = joined[joined != NOBODY]
        if len(joined):
            self._link(np.flatnonzero(np.isin(conversation, joined)))

    def put(self, entry: Entry) -> None:
        """Add a memory, or take over what changed about it."""
        before = int(self.columns["conversation"][entry.row]) if self._has(entry.row) else None
        if before is not None and before != self._conversation_of(entry):
            self._unlink(entry.row)  # it moved to another space, and there is another conversation
        self._put(entry)
        self._in_force = None
        conversation = self._conversation_of(entry)
        if conversation in (NOBODY, before):
            return
        last = self._last.get(conversation)
        position = self.columns["position"]
        if last is None or (position[last], last) <= (position[entry.row], entry.row):
            if last is not None:
                self.columns["following"][last] = entry.row
                self.columns["previous"][entry.row] = last
            self._last[conversation] = entry.row
        else:
            self._link(np.flatnonzero(self.columns["conversation"] == conversation))

    def remove(self, row: int) -> None:
        if not self._has(row):
            return
        self._unlink(row)
        for name, (_, empty) in _COLUMNS.items():
            self.columns[name][row] = empty
        self._in_force = None

    def visible(self, asked: Filter, *, now_ms: int) -> NDArray[np.bool_]:
        """Which rows a recall may return, indexed by row number."""
        columns = self.columns
        if asked.as_of_ms is None:
            mask = self._visible_at(columns, now_ms)
        else:
            mask = columns["live"] & (columns["valid_from_ms"] <= asked.as_of_ms)
            mask &= columns["valid_to_ms"] > asked.as_of_ms
        for name, chosen, codes in (
            ("space", asked.spaces, self._spaces),
            ("kind", asked.kinds, _KIND_CODES),
            ("speaker", None if asked.speaker is None else (asked.speaker,), self.speakers),
        ):
            if chosen is not None:
                matching = np.zeros(len(mask), np.bool_)
                for code in (codes[value] for value in chosen if value in codes):
                    matching |= (
                        columns[name] == code
                    )  # nearly always one; forty times faster than `isin`
                mask &= matching
        if asked.since_ms is not None:
            mask &= columns["when_ms"] >= asked.since_ms
        if asked.until_ms is not None:
            mask &= columns["when_ms"] < asked.until_ms
        return mask

    def _visible_at(self, columns: dict[str, NDArray[Any]], now_ms: int) -> NDArray[np.bool_]:
        """What a question without a filter may see now; most ask so, and little changes between two questions."""
        known = self._in_force
        if (
            known is None
            or known.columns is not columns
            or not known.since_ms <= now_ms < known.until_ms
        ):
            mask: NDArray[np.bool_] = columns["live"] & ~columns["hidden"]
            mask &= columns["valid_to_ms"] > now_ms
            until_ms = int(columns["valid_to_ms"][mask].min(initial=ALWAYS_MS))
            known = _InForce(columns, mask, now_ms, until_ms)
            self._in_force = known
        return known.mask.copy()

    def speakers_named(self, words: Iterable[str]) -> set[int]:
        """Codes of the speakers who have one of these casefolded words in their names."""
        named: set[int] = set()
        for word in words:
            named |= self._speakers_by_word.get(word, set())
        return named

    def spaces(self) -> list[str]:
        """Those that a memory is in."""
        used = set(np.flatnonzero(np.bincount(self.columns["space"] - NOBODY)) + NOBODY)
        return [name for name, code in self._spaces.copy().items() if code in used]

    def around(
        self, rows: NDArray[np.int64], before: int, after: int
    ) -> dict[int, NDArray[np.int64]]:
        """For each step from -`before` to `after`: the rows that stand so many turns later in the same conversation; NOBODY past
        its ends."""
        reached: dict[int, NDArray[np.int64]] = {0: rows}
        for step in range(1, before + 1):
            reached[-step] = _follow(self.columns["previous"], reached[1 - step])
        for step in range(1, after + 1):
            reached[step] = _follow(self.columns["following"], reached[step - 1])
        return reached

    def __len__(self) -> int:
        return int(np.count_nonzero(self.columns["live"]))

    def _has(self, row: int) -> bool:
        return row < len(self.columns["live"]) and bool(self.columns["live"][row])

    def _put(self, entry: Entry) -> None:
        self._make_room(entry.row + 1)
        columns, row = self.columns, entry.row
        columns["hidden"][row] = entry.hidden
        columns["pinned"][row] = entry.pinned
        columns["question"][row] = entry.question
        columns["kind"][row] = _KIND_CODES[entry.kind]
        columns["trust"][row] = _TRUST_CODES[entry.trust]
        columns["space"][row] = _code(self._spaces, entry.space)
        columns["speaker"][row] = self._speaker(entry.speaker)
        columns["conversation"][row] = self._conversation_of(entry)
        columns["position"][row] = NOBODY if entry.position is None else entry.position
        columns["when_ms"][row] = entry.when_ms
        columns["valid_from_ms"][row] = entry.valid_from_ms
        columns["valid_to_ms"][row] = ALWAYS_MS if entry.valid_to_ms is None else entry.valid_to_ms
        columns["chars"][row] = entry.chars
        columns["importance"][row] = entry.importance
        columns["flags"][row] = entry.flags
        columns["live"][row] = True

    def _conversation_of(self, entry: Entry) -> int:
        return self._conversation(entry.space, entry.conversation)

    def _conversation(self, space: str, name: str | None) -> int:
        return NOBODY if name is None else _code(self._conversations, (space, name))

    def _speaker(self, name: str | None) -> int:
        if name is None:
            return NOBODY
        code = self.speakers.get(name)
        if code is None:
            code = _code(self.speakers, name)
            for word in set(name.casefold().split()) - _NOBODY_IN_PARTICULAR:
                self._speakers_by_word.setdefault(word, set()).add(code)
        return code

    def _unlink(self, row: int) -> None:
        """Take a row out from between its neighbours."""
        before, after = int(self.columns["previous"][row]), int(self.columns["following"][row])
        if before != NOBODY:
            self.columns["following"][before] = after
        if after != NOBODY:
            self.columns["previous"][after] = before
        conversation = int(self.columns["conversation"][row])
        if self._last.get(conversation) == row:
            if before == NOBODY:
                del self._last[conversation]
            else:
                self._last[conversation] = before
        self.columns["previous"][row] = self.columns["following"][row] = NOBODY

    def _make_room(self, needed: int) -> None:
        if needed <= len(self.columns["live"]):
            return
        size = max(needed, int(len(self.columns["live"]) * _GROWTH), 1024)
        grown = {}
        for name, (dtype, empty) in _COLUMNS.items():
            grown[name] = np.full(size, empty, dtype)
            grown[name][: len(self.columns[name])] = self.columns[name]
        self.columns = grown

    def _link(self, rows: NDArray[np.int64]) -> None:
        """Set the neighbours of whole conversations, given all their rows."""
        if not len(rows):
            return
        conversation, position = self.columns["conversation"][rows], self.columns["position"][rows]
        ordered = rows[np.lexsort((rows, position, conversation))]
        same = (
            self.columns["conversation"][ordered[1:]] == self.columns["conversation"][ordered[:-1]]
        )
        self.columns["previous"][ordered] = np.concatenate(
            ([NOBODY], np.where(same, ordered[:-1], NOBODY))
        )
        self.columns["following"][ordered] = np.concatenate(
            (np.where(same, ordered[1:], NOBODY), [NOBODY])
        )
        lasts = ordered[np.concatenate((~same, [True]))]
        for row in lasts.tolist():
            self._last[int(self.columns["conversation"][row])] = row


def _code(codes: dict[_Name, int], name: _Name) -> int:
    return codes.setdefault(name, len(codes))


def _or_else(values: Sequence[int | None], empty: int) -> list[int]:
    return [empty if value is None else value for value in values]


def _follow(column: NDArray[np.int32], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    inside = (rows >= 0) & (rows < len(column))
    return np.where(inside, column[np.where(inside, rows, 0)], NOBODY).astype(np.int64)
