"""What another device may say that no person could: it is shown in one way on every device, and stops nothing."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server import context, exporters, importers, memory, naming, search
from mcp_server.device import Device
from mcp_server.memory import Changes, revise
from mcp_server.model import TAGS_MAX, Link, Memory
from mcp_server.vault import store, wire
from mcp_server.vault.store import Selection, as_bytes, as_id
from shared.clock import to_ms
from shared.ids import MemoryId
from sync_service.changes.clock import LATEST
from sync_service.changes.fields import Field
from sync_service.changes.ops import Link as LinkOp
from sync_service.changes.ops import Op, Set, Tag
from tests.builders import NOON, SetClock, draft, embedded, new_id, opened, tell
from tests.two_vaults import digest_of, exchange, hear, memories_of, set_up, states_of

encode = msgspec.msgpack.encode
LIAR = b"stranger"
AT = to_ms(NOON) << 16
MAX = (1 << 63) - 1

NAMES = {
    "nul": "wo\0rk",
    "control": "work\x1b[2J",
    "direction": "\u202ekrow",
    "lines": "work\nhome",
    "long": "w" * 900,
    "nothing": "   ",
    "empty": "",
}
NAMED: dict[Field, Callable[[Memory], str | None]] = {
    Field.SPACE: lambda each: each.space,
    Field.SPEAKER: lambda each: each.speaker,
    Field.CONVERSATION: lambda each: each.conversation,
    Field.CLIENT: lambda each: each.source.client,
    Field.TOOL: lambda each: each.source.tool,
}
DEFAULTS = dict.fromkeys(NAMED, None) | {Field.SPACE: "personal"}
Pair = tuple[Device, Device]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with opened(tmp_path / "one") as one, opened(tmp_path / "other") as other:
        set_up(one)
        set_up(other)
        yield one, other


def version(device: Device, memory_id: str) -> int:
    with device.vault.reading() as db:
        row = store.by_id(db, MemoryId(memory_id))
    assert row is not None
    return row.memory.version


def lie(memory_id: MemoryId, fields: Mapping[Field, Any], hlc: int = AT) -> Set:
    return Set(as_bytes(memory_id), hlc, {field: encode(fields[field]) for field in sorted(fields)})


def shown(device: Device) -> dict[MemoryId, Memory]:
    """All that there is, after every part of the device has looked at it."""
    embedded(device)
    found = memories_of(device)
    search.find(device, search.Asked(query="tea", as_of=NOON), client="test")
    search.find(device, search.Asked(query="what did I say about tea?"), client="test")
    search.browse(device, Selection(superseded=True), limit=50, cursor=None, client="test")
    context.gather(device, topic=None, spaces=None, max_tokens=1_000, client="test")
    return found


def moved(device: Device, home: Path) -> dict[MemoryId, Memory]:
    """What is there after all went through an export."""
    kept = sorted(memories_of(device).values(), key=lambda each: each.id)
    exporters.write(iter(kept), home / "all.jsonl", "jsonl", clock=SetClock())
    with opened(home / "elsewhere") as elsewhere:
        items = importers.read(home / "all.jsonl", "jsonl", clock=SetClock())
        memory.take_in(
            elsewhere, [each for each in items if isinstance(each, Memory)], client="test"
        )
        return memories_of(elsewhere)


def test_names_that_nobody_can_type_are_shown_as_far_as_they_are_names(
    pair: Pair, tmp_path: Path
) -> None:
    one, other = pair
    said: list[tuple[bytes, Op]] = []
    expected: dict[MemoryId, str | None] = {}
    for number, (name, field) in enumerate(itertools.product(NAMES.values(), NAMED)):
        made = new_id()
        said.append((LIAR, lie(made, {Field.TEXT: f"tea {number}", field: name})))
        said.append((LIAR, lie(made, {Field.PINNED: True}, AT + 1)))
        expected[made] = naming.as_name(name) or DEFAULTS[field]
    hear(one, said)
    hear(other, said[1::2])
    hear(other, said[::2])
    assert shown(one) == shown(other)
    assert states_of(one) == states_of(other)
    assert digest_of(one) == digest_of(other)
    assert {
        made: NAMED[field](each)
        for (made, each), field in zip(
            sorted(shown(one).items()), itertools.cycle(NAMED), strict=False
        )
    } == expected
    assert moved(one, tmp_path) == shown(one)
    first = states_of(one)[as_bytes(min(expected))]
    assert first.fields[Field.SPACE][2] == encode(NAMES["nul"]), "it is passed on as it came"


def test_tags_and_relations_that_nobody_can_type_are_names_too(pair: Pair, tmp_path: Path) -> None:
    one, other = pair
    made, target = new_id(), as_bytes(new_id())
    said: list[tuple[bytes, Op]] = [
        (LIAR, lie(made, {Field.TEXT: "tea"})),
        (LIAR, Tag(as_bytes(made), AT, dict.fromkeys(sorted(filter(None, NAMES.values())), 1))),
        (LIAR, LinkOp(as_bytes(made), AT, {("a\0bout", target): 1, ("a\x01bout", target): 1})),
    ]
    hear(one, said)
    for each in reversed(said):
        hear(other, [each])
    assert shown(one) == shown(other)
    there = shown(one)[made]
    assert there.tags == tuple(sorted(filter(None, map(naming.as_name, NAMES.values()))))
    assert there.links == (Link("a\ufffdbout", as_id(target)),)
    assert moved(one, tmp_path) == shown(one)


def test_more_tags_than_a_memory_has_come_together_and_the_first_are_shown(pair: Pair) -> None:
    one, other = pair
    (stored,) = tell(one, "tea")
    exchange(one, other)
    for device, letter in ((one, "b"), (other, "a")):
        tags = tuple(f"{letter}{number:02}" for number in range(TAGS_MAX))
        revise(device, stored.id, 1, Changes(tags=tags), client="test")
    exchange(one, other)
    assert shown(one) == shown(other)
    assert shown(one)[stored.id].tags == tuple(f"a{number:02}" for number in range(TAGS_MAX))
    revise(one, stored.id, version(one, stored.id), Changes(pinned=True), client="test")
    revise(one, stored.id, version(one, stored.id), Changes(tags=("a00", "c")), client="test")
    exchange(one, other)
    assert shown(one) == shown(other)
    assert shown(one)[stored.id].tags == ("a00", "c")
    assert states_of(one) == states_of(other)


def test_a_memory_that_lost_its_text_is_kept_and_shown_when_it_has_one(pair: Pair) -> None:
    one, _ = pair
    made = new_id()
    hear(one, [(LIAR, lie(made, {Field.TEXT: "tea"}))])
    for text in ("", " \n", "\u2003"):
        hear(one, [(LIAR, lie(made, {Field.TEXT: text}, AT + 1))])
        assert shown(one) == {}
    hear(one, [(LIAR, lie(made, {Field.TEXT: "coffee"}, AT + 2))])
    assert [each.text for each in shown(one).values()] == ["coffee"]


def test_what_ends_before_it_begins_is_never_true_and_can_be_moved(
    pair: Pair, tmp_path: Path
) -> None:
    one, other = pair
    (stored,) = tell(one, "tea")
    exchange(one, other)
    revise(one, stored.id, 1, Changes(valid_from=NOON + timedelta(days=2)), client="test")
    revise(other, stored.id, 1, Changes(valid_to=NOON + timedelta(days=1)), client="test")
    exchange(one, other)
    assert shown(one) == shown(other)
    assert moved(one, tmp_path) == shown(one)
    revise(one, stored.id, version(one, stored.id), Changes(pinned=True), client="test")


def test_numbers_and_dates_at_the_ends_of_what_can_be_said_stop_nothing(
    pair: Pair, tmp_path: Path
) -> None:
    one, other = pair
    said: list[tuple[bytes, Op]] = []
    times = (wire._EARLIEST_MS, wire._LATEST_MS, 0, -1, MAX)
    for field in (Field.OCCURRED, Field.VALID_FROM, Field.VALID_TO, Field.CREATED):
        for time in times:
            for kind in ("event", "turn"):
                fields = {Field.TEXT: f"tea {len(said)}", Field.KIND: kind, field: time}
                said.append((LIAR, lie(new_id(), fields)))
    for position in (0, -1, -(1 << 63), MAX, 1 << 53):
        fields = {Field.TEXT: "tea", Field.CONVERSATION: "talk", Field.POSITION: position}
        said.append((LIAR, lie(new_id(), fields)))
    said.append((LIAR, lie(new_id(), {Field.TEXT: "te\0a"})))
    said.append((LIAR, lie(new_id(), {Field.TEXT: "tea"}, LATEST)))
    hear(one, said)
    hear(other, said)
    assert shown(one) == shown(other)
    tell(
        one, *memory.capture_drafts(one, "talk", [draft("more tea", kind="turn")], space="personal")
    )
    assert moved(one, tmp_path) == shown(one)


@given(st.text(max_size=300))
def test_what_is_shown_of_a_name_is_a_name_and_a_name_is_shown_as_it_is(said: str) -> None:
    shown = naming.as_name(said)
    assert shown is None or naming.is_name(shown)
    if said.isprintable() and said.strip() and len(said) <= 200:
        assert shown == said
