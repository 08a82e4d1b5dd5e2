"""The columns against a plain list of entries: whatever happened to them, filters and neighbours say the same."""

from typing import Any, get_args

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mcp_server.index.catalogue import ALWAYS_MS, NOBODY, Catalogue, Entry, Filter
from mcp_server.model import Kind, Trust

NOW_MS = 50

spaces = st.sampled_from(["home", "work"])
conversations = st.sampled_from([None, "talk", "chat"])
times = st.integers(0, 100)
entries = st.builds(
    Entry,
    row=st.just(0),
    space=spaces,
    kind=st.sampled_from(get_args(Kind)),
    trust=st.sampled_from(get_args(Trust)),
    speaker=st.sampled_from([None, "Ann", "Bob"]),
    conversation=conversations,
    position=st.none() | st.integers(0, 5),
    when_ms=times,
    valid_from_ms=times,
    valid_to_ms=st.none() | times,
    hidden=st.booleans(),
    chars=st.integers(0, 10_000),
    question=st.booleans(),
    pinned=st.booleans(),
    importance=st.floats(0, 1, width=32),
)
filters = st.builds(
    Filter,
    spaces=st.none() | st.sets(st.sampled_from(["home", "work", "nowhere"])).map(tuple),
    kinds=st.none() | st.sets(st.sampled_from(get_args(Kind)), max_size=3).map(tuple),
    speaker=st.sampled_from([None, "Ann", "Bob", "Nobody"]),
    since_ms=st.none() | times,
    until_ms=st.none() | times,
    as_of_ms=st.none() | times,
)


def passes(entry: Entry, asked: Filter) -> bool:
    ends_ms = ALWAYS_MS if entry.valid_to_ms is None else entry.valid_to_ms
    if asked.as_of_ms is None:
        in_force = not entry.hidden and ends_ms > NOW_MS
    else:
        in_force = entry.valid_from_ms <= asked.as_of_ms < ends_ms
    return (
        in_force
        and (asked.spaces is None or entry.space in asked.spaces)
        and (asked.kinds is None or entry.kind in asked.kinds)
        and (asked.speaker is None or entry.speaker == asked.speaker)
        and (asked.since_ms is None or entry.when_ms >= asked.since_ms)
        and (asked.until_ms is None or entry.when_ms < asked.until_ms)
    )


def neighbours(there: dict[int, Entry]) -> dict[int, tuple[int, int]]:
    """Row → the rows before and after it, by looking through everything."""
    found = {}
    for row, entry in there.items():
        place = _place(entry)
        others = [
            each
            for each in there.values()
            if entry.conversation is not None
            and (each.space, each.conversation) == (entry.space, entry.conversation)
        ]
        found[row] = (
            max(
                (each for each in others if _place(each) < place),
                key=_place,
                default=msgspec.structs.replace(entry, row=NOBODY),
            ).row,
            min(
                (each for each in others if _place(each) > place),
                key=_place,
                default=msgspec.structs.replace(entry, row=NOBODY),
            ).row,
        )
    return found


def _place(entry: Entry) -> tuple[int, int]:
    return (NOBODY if entry.position is None else entry.position, entry.row)


class AnyCourseOfEvents(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.catalogue = Catalogue()
        self.there: dict[int, Entry] = {}
        self.next_row = 1

    @rule(entry=entries, gap=st.sampled_from([1, 1, 1, 2, 1_500]))
    def a_memory_is_stored(self, entry: Entry, gap: int) -> None:
        self.next_row += gap
        self.there[self.next_row] = msgspec.structs.replace(entry, row=self.next_row)
        self.catalogue.put(self.there[self.next_row])

    @precondition(lambda self: self.there)
    @rule(data=st.data(), changed=entries)
    def a_memory_is_revised(self, data: st.DataObject, changed: Entry) -> None:
        row = data.draw(st.sampled_from(sorted(self.there)))
        old = self.there[row]
        # What a revision never touches: the words, and the place in a conversation.
        self.there[row] = msgspec.structs.replace(
            changed,
            row=row,
            conversation=old.conversation,
            position=old.position,
            speaker=old.speaker,
            when_ms=old.when_ms,
            chars=old.chars,
        )
        self.catalogue.put(self.there[row])

    @rule(data=st.data())
    def a_memory_is_forgotten(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from([*sorted(self.there), 99_999]))
        self.there.pop(row, None)
        self.catalogue.remove(row)

    @rule()
    def the_device_starts_again(self) -> None:
        self.catalogue = Catalogue()
        entries = [msgspec.structs.astuple(entry) for entry in self.there.values()]
        for start in range(0, len(entries), 2):
            self.catalogue.load(entries[start : start + 2])
        self.catalogue.join()

    @invariant()
    def everybody_stands_where_they_should(self) -> None:
        rows = np.array(sorted(self.there), np.int64)
        expected = neighbours(self.there)
        assert len(self.catalogue) == len(rows)
        assert set(self.catalogue.spaces()) == {entry.space for entry in self.there.values()}
        for step, side in ((-1, 0), (1, 1)):
            reached = self.catalogue.around(rows, 2, 2)
            found = reached[step].tolist()
            assert found == [expected[row][side] for row in rows.tolist()]
            twice = [
                expected[near][side] if near != NOBODY else NOBODY
                for near in (expected[row][side] for row in rows.tolist())
            ]
            assert reached[2 * step].tolist() == twice

    @rule(asked=filters)
    def somebody_asks(self, asked: Filter) -> None:
        seen = np.flatnonzero(self.catalogue.visible(asked, now_ms=NOW_MS)).tolist()
        assert seen == [row for row in sorted(self.there) if passes(self.there[row], asked)]


TestAnyCourseOfEvents = AnyCourseOfEvents.TestCase


@given(st.lists(entries, max_size=8))
def test_the_columns_hold_what_was_put(given_entries: list[Entry]) -> None:
    catalogue = Catalogue()
    for row, entry in enumerate(given_entries, 1):
        catalogue.put(msgspec.structs.replace(entry, row=row))
    for row, entry in enumerate(given_entries, 1):
        column: dict[str, Any] = {
            name: values[row].item() for name, values in catalogue.columns.items()
        }
        assert column["live"] is True
        for name in ("hidden", "pinned", "question", "when_ms", "valid_from_ms", "chars"):
            assert column[name] == getattr(entry, name)
        assert column["importance"] == entry.importance
        assert get_args(Kind)[column["kind"]] == entry.kind
        assert get_args(Trust)[column["trust"]] == entry.trust
        names = {code: name for name, code in catalogue.speakers.items()}
        assert names.get(column["speaker"]) == entry.speaker


def test_an_empty_catalogue_answers() -> None:
    catalogue = Catalogue()
    catalogue.load([])
    catalogue.join()
    assert len(catalogue) == 0
    assert catalogue.spaces() == []
    assert catalogue.visible(Filter(spaces=("home",)), now_ms=0).tolist() == []
    assert catalogue.around(np.zeros(0, np.int64), 0, 1)[1].tolist() == []
    catalogue.remove(3)


def test_a_column_taken_before_growth_stays_what_it_was() -> None:
    catalogue = Catalogue()
    entry = Entry(1, "home", "note", "imported", None, None, None, 0, 0, None, False, 1, False, False, 0)  # fmt: skip
    catalogue.put(entry)
    held, mask = catalogue.columns, catalogue.visible(Filter(), now_ms=0)
    catalogue.put(msgspec.structs.replace(entry, row=100_000))
    assert len(held["live"]) == len(mask) < 100_000
    assert len(catalogue.columns["live"]) > 100_000
    assert held["live"].sum() == 1


def test_conversations_of_one_name_in_two_spaces_are_two() -> None:
    catalogue = Catalogue()
    for row, space in ((1, "home"), (2, "work"), (3, "home"), (4, "work")):
        catalogue.put(Entry(row, space, "turn", "said_by_user", None, "talk", row, 0, 0, None, False, 1, False, False, 0))  # fmt: skip
    assert catalogue.around(np.array([1, 2, 3, 4]), 0, 1)[1].tolist() == [3, 4, NOBODY, NOBODY]


def test_a_word_of_a_name_names_its_speakers() -> None:
    catalogue = Catalogue()
    for row, speaker in enumerate(["Ann Berg", "Bob", "ANN", "assistant", "Bob", None], 1):
        catalogue.put(Entry(row, "home", "note", "imported", speaker, None, None, 0, 0, None, False, 1, False, False, 0))  # fmt: skip
    codes = catalogue.speakers
    assert catalogue.speakers_named(["ann"]) == {codes["Ann Berg"], codes["ANN"]}
    assert catalogue.speakers_named(["bob", "berg", "nobody"]) == {codes["Bob"], codes["Ann Berg"]}
    assert catalogue.speakers_named(["assistant", "ANN"]) == set()


def test_a_memory_stops_being_seen_when_its_time_is_over() -> None:
    catalogue = Catalogue()
    for row, ends in ((1, 100), (2, None)):
        catalogue.put(Entry(row, "home", "note", "imported", None, None, None, 0, 0, ends, False, 1, False, False, 0))  # fmt: skip
    seen = [np.flatnonzero(catalogue.visible(Filter(), now_ms=at)).tolist() for at in (50, 99, 100)]
    assert seen == [[1, 2], [1, 2], [2]]
    catalogue.visible(Filter(), now_ms=100)[2] = False  # what a caller makes of its mask is its own
    assert np.flatnonzero(catalogue.visible(Filter(), now_ms=50)).tolist() == [1, 2]
