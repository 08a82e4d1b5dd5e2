"""Two versions that knew nothing of each other: shown side by side, decided once, on whatever device."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mcp_server import conflicts, findings
from mcp_server.conflicts import Conflict
from mcp_server.device import Device
from mcp_server.findings import Decision
from mcp_server.memory import Changes, revise
from mcp_server.vault import store
from shared.errors import NotFoundError
from shared.ids import MemoryId
from sync_service.changes.fields import Field
from sync_service.changes.ops import Set
from tests.builders import SetClock, draft, opened, tell
from tests.two_vaults import exchange, hear, memories_of, set_up, states_of

Pair = tuple[Device, Device]
MONDAY, TUESDAY, FRIDAY = (f"The meeting is on {day}." for day in ("Monday", "Tuesday", "Friday"))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    clock = SetClock()
    with (
        opened(tmp_path / "one", clock=clock, ready=False) as one,
        opened(tmp_path / "other", clock=clock, ready=False) as other,
    ):
        set_up(one)
        set_up(other)
        (stored,) = tell(one, draft(MONDAY))
        exchange(one, other)
        clock.passes(hours=1)
        revise(one, stored.id, 1, Changes(text=TUESDAY), client="test")
        clock.passes(hours=1)
        revise(other, stored.id, 1, Changes(text=FRIDAY), client="test")
        clock.passes(hours=1)
        exchange(one, other)
        yield one, other


def _undecided(device: Device) -> list[Conflict]:
    with device.vault.reading() as db:
        return conflicts.undecided(db, limit=10)


def _valid(device: Device) -> set[str]:
    return {each.text for each in memories_of(device).values() if each.superseded_by is None}


def test_both_versions_are_shown_with_who_and_when(pair: Pair) -> None:
    one, _ = pair
    (conflict,) = _undecided(one)
    assert (conflict.first.text, conflict.second.text) == (FRIDAY, TUESDAY)
    assert conflict.first_said.device == "another device"
    assert conflict.second_said.device == "this device"
    assert (conflict.first_said.at - conflict.second_said.at).seconds == 3600
    assert conflict.relation.startswith(
        "changed_on_two_devices (first on another device 2026-11-21"
    )
    with one.vault.reading() as db:
        assert conflicts.to_decide(db, limit=10) == [conflict]
        assert conflicts.concerned(db, conflict.number) == (conflict.first, conflict.second)


@pytest.mark.parametrize(
    ("decision", "left"),
    [
        ("keep_first", {FRIDAY}),
        ("keep_second", {TUESDAY}),
        ("keep_both", {FRIDAY, TUESDAY}),
    ],
)
def test_what_is_decided_here_holds_everywhere(
    pair: Pair, decision: Decision, left: set[str]
) -> None:
    one, other = pair
    (conflict,) = _undecided(other)
    conflicts.decide(other, conflict.number, decision, client="test")
    exchange(one, other)
    assert states_of(one) == states_of(other)
    assert memories_of(one) == memories_of(other)
    for device in pair:
        assert _undecided(device) == []
        assert _valid(device) == left
    with pytest.raises(NotFoundError):
        conflicts.decide(one, conflict.number, decision, client="test")


@pytest.mark.parametrize("decision", ["keep_first", "keep_second", "keep_both"])
def test_what_was_decided_otherwise_on_each_device_can_be_decided_again(
    pair: Pair, decision: Decision
) -> None:
    one, other = pair
    (conflict,) = _undecided(one)
    conflicts.decide(one, conflict.number, "keep_first", client="test")
    conflicts.decide(other, conflict.number, "keep_second", client="test")
    exchange(one, other)
    (again,) = _undecided(one)
    first, second = {again.first.text}, {again.second.text}
    conflicts.decide(one, again.number, decision, client="test")
    exchange(one, other)
    assert states_of(one) == states_of(other)
    left = {"keep_first": first, "keep_second": second, "keep_both": first | second}[decision]
    for device in pair:
        assert _undecided(device) == []
        assert _valid(device) == left
        assert {each.text for each in memories_of(device).values() if not each.valid_to} == left


def test_a_decision_against_an_earlier_one_holds(pair: Pair) -> None:
    one, _ = pair
    (conflict,) = _undecided(one)
    with one.vault.writing() as db:
        db.execute(
            "INSERT INTO findings (relation, first, second, noticed_ms) VALUES ('may_contradict', ?, ?, 0)",
            [store.as_bytes(conflict.first.id), store.as_bytes(conflict.second.id)],
        )
    findings.resolve(one, 1, "keep_second", client="test")
    conflicts.decide(one, conflict.number, "keep_first", client="test")
    assert _valid(one) == {FRIDAY}


@pytest.mark.parametrize("decision", ["keep_first", "keep_second", "keep_both"])
def test_two_texts_of_one_memory(pair: Pair, decision: Decision) -> None:
    one, other = pair
    (stored,) = tell(one, "Tea is green.")
    exchange(one, other)
    key, later = store.as_bytes(stored.id), 1_800_000_000_000 << 16
    written = next(iter(states_of(one)[key].fields.values()))[:2]
    for number, text in enumerate(("Tea is black.", "Tea is white.")):
        said = Set(
            key,
            later + number,
            {Field.TEXT: msgspec.msgpack.encode(text)},
            {Field.TEXT: (written,)},
        )
        for device in pair:
            hear(device, [(bytes([number]) * 8, said)])
    conflict = next(each for each in _undecided(one) if each.about == stored.id)
    assert (conflict.first.text, conflict.second.text) == ("Tea is white.", "Tea is black.")
    conflicts.decide(one, conflict.number, decision, client="test")
    exchange(one, other)
    assert memories_of(one) == memories_of(other)
    tea = {each.text for each in memories_of(other).values() if each.text.startswith("Tea")}
    white, black = {"Tea is white."}, {"Tea is black."}
    assert tea == {"keep_first": white, "keep_second": black, "keep_both": white | black}[decision]
    assert stored.id in memories_of(one)


def test_numbers_that_are_no_conflicts(pair: Pair) -> None:
    one, _ = pair
    newest: MemoryId = next(iter(memories_of(one)))
    undecided = {each.number for each in _undecided(one)}
    for number in (0, 7, 1 << 40, (1 << 41) + 5, -3, (1 << 40) + int(newest[-10:], 16)):
        if number not in undecided:
            with pytest.raises(NotFoundError):
                conflicts.decide(one, number, "keep_both", client="test")
