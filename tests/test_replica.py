"""Two vaults that tell each other what they did hold the same memories, and look the same to search."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from mcp_server import consolidate, forgetting, search
from mcp_server.device import Device
from mcp_server.memory import Changes, remember, revise, take_in
from mcp_server.model import LINKS_MAX, Link, Source
from mcp_server.replica import Replica
from mcp_server.vault import pages, states, store, texts
from mcp_server.vault.db import DATABASE_NAME
from mcp_server.vault.store import as_bytes, as_id
from shared.errors import UnavailableError
from shared.ids import MemoryId
from sync_service.changes import merge
from sync_service.changes.fields import Field
from sync_service.changes.ops import Forget, Set, Tag
from sync_service.changes.ops import Link as LinkOp
from sync_service.device import log
from tests.builders import SetClock, draft, embedded, memory, new_id, opened, tell, vault_at
from tests.two_vaults import (
    Carried,
    digest_of,
    exchange,
    hear,
    memories_of,
    set_up,
    states_of,
    told,
)

Pair = tuple[Device, Device]
encode = msgspec.msgpack.encode
STRANGER = b"stranger"
LATER = 1_900_000_000_000 << 16


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with opened(tmp_path / "one") as one, opened(tmp_path / "other") as other:
        set_up(one)
        set_up(other)
        yield one, other


@pytest.fixture(scope="module")
def shared_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """For what stores a memory of its own and leaves it."""
    folder = tmp_path_factory.mktemp("shared")
    with (
        opened(folder / "one", ready=False) as one,
        opened(folder / "other", ready=False) as other,
    ):
        set_up(one)
        set_up(other)
        yield one, other


def _agree(one: Device, other: Device) -> None:
    assert states_of(one) == states_of(other)
    assert memories_of(one) == memories_of(other)
    assert digest_of(one) == digest_of(other)


def _found(device: Device, question: str) -> set[MemoryId]:
    answer = search.find(device, search.Asked(query=question), client="test")
    return {each.memory.id for each in answer.found}


def _texts(device: Device) -> set[str]:
    return {each.text for each in memories_of(device).values()}


def _at(device: Device, memory_id: str) -> int:
    with device.vault.reading() as db:
        row = store.by_id(db, MemoryId(memory_id))
    assert row is not None
    return row.memory.version


def _forget(device: Device, *ids: str) -> forgetting.Evidence:
    rows = forgetting.chosen(device, ids=ids)
    traces = forgetting.traces(device, rows)
    forgetting.erase(device, rows, client="test")
    return forgetting.verify(device, traces)


def test_what_is_stored_here_is_found_there(pair: Pair) -> None:
    one, other = pair
    (stored,) = tell(one, draft("The boat lies at the harbour.", tags=("boat",), pinned=True))
    exchange(one, other)
    _agree(one, other)
    embedded(other)
    assert stored.id in _found(other, "harbour")
    assert _texts(other) == {"The boat lies at the harbour."}


def test_some_of_very_many_memories_are_found_at_once_by_a_new_device(pair: Pair) -> None:
    one, other = pair
    tell(one, *(f"Boat number {number} lies at the harbour." for number in range(100)))
    with other.index.changing():  # so that nothing is read in the background
        exchange(one, other)
        assert _found(other, "harbour")
    _agree(one, other)
    embedded(other)
    assert _texts(one) == _texts(other)


def test_what_was_there_before_sync_was_set_up_goes_along(tmp_path: Path) -> None:
    with opened(tmp_path / "one") as one, opened(tmp_path / "other") as other:
        tell(one, draft("Written before.", tags=("old",)), "Changed before it was recorded.")
        set_up(one)
        set_up(other)
        changed = next(each for each in memories_of(one).values() if not each.tags)
        revise(one, changed.id, 1, Changes(pinned=True), client="test")
        replica = Replica(one)
        with replica.transaction() as db:
            earlier = replica.unrecorded(db, 10)
            replica.load(db, [each.memory for each in earlier])
            assert replica.unrecorded(db, 10) == []
        exchange(one, other)
        _agree(one, other)
        assert len(memories_of(other)) == 2


def test_tags_links_and_fields_from_both_sides_meet(pair: Pair) -> None:
    one, other = pair
    first, second = (stored.id for stored in tell(one, "The boat.", "The harbour."))
    exchange(one, other)
    revise(one, first, 1, Changes(tags=("boat",), importance=0.9), client="test")
    revise(other, first, 1, Changes(tags=("sea",), links=(Link("at", second),)), client="test")
    exchange(one, other)
    _agree(one, other)
    met = memories_of(one)[first]
    assert (met.tags, met.links, met.importance) == (("boat", "sea"), (Link("at", second),), 0.9)
    assert _at(one, first) == 3


def test_an_edit_elsewhere_is_seen_by_filters_and_by_version(pair: Pair) -> None:
    one, other = pair
    (stored,) = tell(one, draft("The boat lies at the harbour.", space="work"))
    exchange(one, other)
    embedded(other)
    revise(one, stored.id, 1, Changes(archived=True), client="test")
    exchange(one, other)
    assert stored.id not in _found(other, "harbour")
    revise(other, stored.id, 2, Changes(archived=False, space="home"), client="test")
    exchange(one, other)
    _agree(one, other)
    answer = search.find(one, search.Asked(query="harbour", spaces=("home",)), client="test")
    assert [found.memory.id for found in answer.found] == [stored.id]


def test_forgetting_wins_over_everything_said_meanwhile(pair: Pair) -> None:
    one, other = pair
    (stored,) = tell(one, "The boat.")
    exchange(one, other)
    _forget(one, stored.id)
    revise(other, stored.id, 1, Changes(pinned=True), client="test")
    revise(other, stored.id, 2, Changes(text="The other boat."), client="test")
    exchange(one, other)
    _agree(one, other)
    assert _texts(one) == {"The other boat."}  # a memory of its own
    hear(one, [(STRANGER, Set(store.as_bytes(stored.id), LATER, {Field.TEXT: encode("Back!")}))])
    assert _texts(one) == {"The other boat."}


def test_nothing_of_a_memory_that_another_device_forgot_is_left(pair: Pair) -> None:
    one, other = pair
    secret = "The zyrquonic resonator is hidden beneath the third granite step."
    (stored,) = tell(one, secret)
    exchange(one, other)
    revise(other, stored.id, 1, Changes(tags=("zyrquonic",)), client="test")
    embedded(other)
    row = forgetting.chosen(other, ids=[stored.id])
    traces = forgetting.traces(other, row)
    _forget(one, stored.id)
    hear(other, told(one))
    assert forgetting.verify(other, traces).left == ()
    everything = b"".join(pages.decrypted(other.vault.path, other.keys.database))
    assert b"zyrquon" not in everything
    assert (other.vault.path.with_name(DATABASE_NAME)).exists()
    with other.vault.reading() as db:
        assert log.outbox_count(db) == 0
    # The tag that was on its way changes nothing here either.
    assert told(other) == []


def test_what_pointed_to_a_forgotten_memory_points_nowhere_in_any_order(pair: Pair) -> None:
    one, other = pair
    first, second = (stored.id for stored in tell(one, "Tea is green.", "Tea is black."))
    exchange(one, other)
    revise(other, first, 1, Changes(links=(Link("see", second),)), client="test")
    superseding = Set(
        store.as_bytes(first), LATER, {Field.SUPERSEDED_BY: encode(store.as_bytes(second))}
    )
    said_by_other = [*told(other), (STRANGER, superseding)]
    _forget(one, second)
    said_by_one = told(one)
    hear(other, said_by_one)
    hear(one, said_by_other)
    hear(other, [(STRANGER, superseding)])
    _agree(one, other)
    left = memories_of(one)[first]
    assert (left.superseded_by, left.links) == (None, ())
    embedded(one)
    assert first in _found(one, "tea")


@pytest.mark.parametrize("has_come", [True, False], ids=["after it came", "before it came"])
def test_nothing_points_to_a_memory_that_was_forgotten(tmp_path: Path, has_come: bool) -> None:
    gone, left = new_id(), new_id()
    fields: dict[int, bytes] = {
        Field.TEXT: encode("Tea is green."),
        Field.SUPERSEDED_BY: encode(as_bytes(gone)),
    }
    with opened(tmp_path / "one") as device:
        set_up(device)
        hear(device, [(STRANGER, Set(as_bytes(left), LATER, fields))])
        hear(device, [(STRANGER, LinkOp(as_bytes(left), LATER, {("see", as_bytes(gone)): 1}))])
        if has_come:
            hear(device, [(STRANGER, Set(as_bytes(gone), LATER, {Field.TEXT: encode("Tea.")}))])
        hear(device, [(STRANGER, Forget(as_bytes(gone), LATER + 1))])
        shown = memories_of(device)[left]
        assert (shown.superseded_by, shown.links) == (None, ())
        embedded(device)
        assert left in _found(device, "tea")


def test_what_is_written_after_a_memory_was_forgotten_does_not_point_to_it(pair: Pair) -> None:
    one, other = pair
    gone, stays = (stored.id for stored in tell(one, "Tea is green.", "Tea is black."))
    exchange(one, other)
    _forget(one, gone)
    older = structs.replace(memory("Tea is red."), id=new_id(), superseded_by=gone)
    take_in(one, [structs.replace(older, links=(Link("see", gone),))], client="test")
    tell(one, draft("Tea is white.", links=(Link("see", gone), Link("see", stays))))
    revise(one, stays, 1, Changes(links=(Link("see", gone),)), client="test")
    revise(one, stays, 1, Changes(links=(Link("see", gone),), pinned=True), client="test")
    exchange(one, other)
    _agree(one, other)
    left = memories_of(one)
    assert (left[older.id].superseded_by, left[older.id].links) == (None, ())
    assert left[stays].links == ()


def test_the_least_importance_is_the_same_on_all_devices(pair: Pair) -> None:
    one, other = pair
    (stored,) = tell(one, draft("Tea is green.", importance=-0.0))
    exchange(one, other)
    _agree(one, other)
    assert memories_of(other)[stored.id].importance == 0


def test_a_new_text_with_all_links_that_a_memory_has_is_the_same_on_all_devices(pair: Pair) -> None:
    one, other = pair
    links = tuple(Link("see", new_id()) for _ in range(LINKS_MAX))
    (stored,) = tell(one, draft("Tea is green.", links=links))
    revise(one, stored.id, 1, Changes(text="Tea is black."), client="test")
    exchange(one, other)
    _agree(one, other)


def test_superseded_on_both_devices_both_texts_stay(pair: Pair) -> None:
    one, other = pair
    (stored,) = tell(one, "The meeting is on Monday.")
    exchange(one, other)
    revise(one, stored.id, 1, Changes(text="The meeting is on Tuesday."), client="test")
    revise(other, stored.id, 1, Changes(text="The meeting is on Friday."), client="test")
    exchange(one, other)
    _agree(one, other)
    assert len(_texts(one)) == 3
    with one.vault.reading() as db:
        assert log.in_conflict(db, 10) == [store.as_bytes(stored.id)]


def test_one_key_on_two_devices_stays_with_the_elder(pair: Pair) -> None:
    one, other = pair
    turn = draft("Hello!", source=Source(trust="said_by_user", key="capture:1"))
    elder, younger = sorted((tell(one, turn)[0], tell(other, turn)[0]), key=lambda each: each.id)
    exchange(one, other)
    _agree(one, other)
    for device in pair:
        assert memories_of(device)[younger.id].source.key is None
        (known,) = tell(device, turn)
        assert (known.id, known.status) == (elder.id, "known")
    _forget(one, elder.id)
    exchange(one, other)
    _agree(one, other)
    assert memories_of(other)[younger.id].source.key == memories_of(one)[younger.id].source.key
    assert tell(other, turn)[0].id == younger.id


def test_a_key_that_its_bearer_changes_goes_to_who_waited_for_it_in_any_order(
    tmp_path: Path,
) -> None:
    elder, younger = (f"0190000000{number}07000800000000000000{number}" for number in "12")
    said: Carried = [
        (STRANGER, _keyed(elder, LATER, 1, text="elder")),
        (STRANGER, _keyed(younger, LATER, 1, text="younger")),
        (STRANGER, _keyed(elder, LATER + 1, 2)),
    ]
    for number, order in enumerate(
        ([said], [[each] for each in said], [said[1:2], said[2:], said[:1]], [said[::-1]])
    ):
        with opened(tmp_path / str(number)) as device:
            set_up(device)
            for together in order:
                hear(device, together)
            keys = {memory.text: memory.source.key for memory in memories_of(device).values()}
        assert keys == {"elder": "02" * 16, "younger": "01" * 16}


def _keyed(memory: str, hlc: int, key: int, *, text: str | None = None) -> Set:
    fields: dict[int, bytes] = {} if text is None else {Field.TEXT: encode(text)}
    return Set(bytes.fromhex(memory), hlc, fields | {Field.KEY: encode(bytes([key]) * 16)})


def test_the_same_export_taken_in_on_both_devices_is_there_once(pair: Pair) -> None:
    one, other = pair
    exported = [
        memory("From the export.", tags=("a",), source=Source(trust="imported", key="export:1")),
        memory("And another.", superseded_by=new_id()),
    ]
    take_in(one, exported, client="test")
    take_in(other, exported, client="test")
    exchange(one, other)
    _agree(one, other)
    assert len(memories_of(one)) == 2
    _forget(one, exported[0].id)
    exchange(one, other)
    # What was forgotten does not come back by an old export.
    assert take_in(other, exported, client="test")[0].status == "known"
    assert len(memories_of(other)) == 1


def test_a_megabyte_goes_along(pair: Pair) -> None:
    one, other = pair
    tell(one, "harbour " * 124_999)
    exchange(one, other)
    _agree(one, other)


def test_a_text_that_changes_is_found_by_its_new_words_only(pair: Pair) -> None:
    one, other = pair
    (stored,) = tell(one, draft("The boat lies at the harbour.", tags=("boat",)))
    exchange(one, other)
    embedded(one)
    said = Set(
        store.as_bytes(stored.id), LATER, {Field.TEXT: encode("The train is at the station.")}
    )
    for device in pair:
        hear(device, [(STRANGER, said)])
        embedded(device)
        assert stored.id in _found(device, "station")
        answer = search.find(device, search.Asked(query="harbour boat"), client="test")
        assert [found.text for found in answer.found] in ([], ["The train is at the station."])
    _agree(one, other)
    assert memories_of(one)[stored.id].tags == ("boat",)
    assert _at(one, stored.id) == 2


def test_a_state_without_its_text_waits_for_it(pair: Pair) -> None:
    one, other = pair
    (stored,) = tell(one, "The boat.")
    key = store.as_bytes(stored.id)
    said = told(one)
    hear(other, [(STRANGER, Tag(key, LATER, {"early": 1}))])
    assert memories_of(other) == {}
    hear(other, said)
    assert memories_of(other)[stored.id].tags == ("early",)
    hear(one, [(STRANGER, Tag(key, LATER, {"early": 1}))])
    assert states_of(one) == states_of(other)


def test_what_points_to_a_memory_without_a_text_is_the_same_in_any_order(tmp_path: Path) -> None:
    hidden, left = as_bytes(new_id()), as_bytes(new_id())
    said: Carried = [
        (STRANGER, Set(hidden, LATER, {Field.TEXT: encode("Tea.")})),
        (
            STRANGER,
            Set(left, LATER, {Field.TEXT: encode("!"), Field.SUPERSEDED_BY: encode(hidden)}),
        ),
        (STRANGER, LinkOp(left, LATER, {("see", hidden): 1})),
        (STRANGER, Set(hidden, LATER + 1, {Field.TEXT: encode(None)})),
    ]
    for name, order in (("one", said), ("other", said[::-1])):
        with opened(tmp_path / name) as device:
            set_up(device)
            for each in order:
                hear(device, [each])
            (shown,) = memories_of(device).values()
        assert (shown.superseded_by, shown.links) == (as_id(hidden), (Link("see", as_id(hidden)),))


def test_values_that_only_a_newer_version_knows_are_kept_and_passed_on(pair: Pair) -> None:
    one, other = pair
    key = store.as_bytes(new_id())
    said = Set(
        key,
        LATER,
        {
            Field.TEXT: encode("From the future."),
            Field.KIND: encode("insight"),
            Field.IMPORTANCE: encode(7),
            Field.SPACE: encode(""),
            77: encode({"what": "nobody knows"}),
        },
    )
    hear(one, [(STRANGER, said)])
    with one.vault.reading() as db:
        (state,) = states.load(db, [key]).values()
    assert state == merge.apply(merge.EMPTY, said, STRANGER)
    (shown,) = memories_of(one).values()
    assert (shown.kind, shown.importance, shown.space) == ("note", 0.5, "personal")
    revise(one, shown.id, 1, Changes(kind="fact"), client="test")
    hear(other, [(STRANGER, said)])
    exchange(one, other)
    _agree(one, other)
    with other.vault.reading() as db:
        (state,) = states.load(db, [key]).values()
    assert state.fields[Field.IMPORTANCE][2] == encode(7)
    assert state.fields[Field.KIND][2] == encode("fact")


def test_many_at_once_are_found_by_their_words(pair: Pair) -> None:
    one, other = pair
    remember(
        one, [draft(f"Entry number {number} of the diary.") for number in range(300)], client="test"
    )
    tell(one, "The boat lies at the harbour.")
    exchange(one, other)
    _agree(one, other)
    while other.index.tidy_words():
        pass
    assert len(other.index.lexical.waiting) == 0
    assert len(_found(other, "harbour")) >= 1
    with other.vault.reading() as db:
        (said,) = other.index.lexical.postings(db, ["diari"])
    assert len(said.rows) == 300


def _long_texts() -> list[str]:
    """Two blocks' worth and a bit."""
    return [f"Boat number {number} " + f"has rope {number} and oar. " * 80 for number in range(70)]


def _loose(device: Device) -> int:
    with device.vault.reading() as db:
        return texts.loose_amount(db).memories


def test_texts_that_come_by_the_thousand_come_into_blocks_and_leave_them_one_by_one(
    pair: Pair,
) -> None:
    one, other = pair
    stored = tell(one, *_long_texts())
    exchange(one, other)
    _agree(one, other)
    assert 0 < _loose(other) < len(stored) // 2
    assert not _forget(other, stored[0].id).left
    revise(one, stored[1].id, 1, Changes(text="It has no rope."), client="test")
    exchange(one, other)
    _agree(one, other)


def test_after_blocks_were_undone_texts_come_loose(pair: Pair) -> None:
    one, other = pair
    for _ in consolidate.undo(other):
        pass
    stored = tell(one, *_long_texts())
    exchange(one, other)
    _agree(one, other)
    assert _loose(other) == len(stored)


def test_states_come_newest_first_and_forgotten_ones_among_them(pair: Pair) -> None:
    one, _ = pair
    ids = [stored.id for stored in tell(one, *(f"Memory {number}." for number in range(7)))]
    _forget(one, ids[3])
    replica, seen = Replica(one), []
    with one.vault.reading() as db:
        after: bytes | None = None
        while page := list(replica.rows(db, after, 2)):
            seen += page
            after = page[-1][0]
        assert replica.count(db) == 6
    assert [store.as_id(key) for key, _ in seen] == ids[::-1]
    assert [state.forgotten for _, state in seen] == [number == 3 for number in range(6, -1, -1)]


def test_what_is_agreed_on_outlives_a_new_key(tmp_path: Path) -> None:
    path, new_key = tmp_path / "one", bytes(range(32, 64))
    with opened(path) as one:
        set_up(one)
        tell(one, draft("The boat lies at the harbour.", tags=("boat",)))
        before, digest = states_of(one), digest_of(one)
    with vault_at(path / DATABASE_NAME) as vault:
        vault.rekey(new_key)
    with vault_at(path / DATABASE_NAME, new_key) as vault, vault.reading() as db:
        assert dict(states.newest(db, None, 10)) == before
        assert log.digest(db) == digest
        assert log.outbox_count(db) == 2


@pytest.mark.parametrize("year", [1, 1969, 2150, 9999])
def test_a_memory_of_any_date_goes_along(tmp_path: Path, year: int) -> None:
    with opened(tmp_path / "one") as one, opened(tmp_path / "other") as other:
        dated = datetime(year, 6, 1, tzinfo=UTC)
        take_in(
            one, [memory("Of another time.", created_at=dated, updated_at=dated)], client="test"
        )
        set_up(one)
        set_up(other)
        replica = Replica(one)
        with replica.transaction() as db:
            replica.load(db, [as_bytes(each) for each in memories_of(one)])
        exchange(one, other)
        assert states_of(one) == states_of(other)
        assert [each.created_at for each in memories_of(other).values()] == [dated]
        assert _texts(other) == {"Of another time."}


@pytest.mark.parametrize("year", [1, 1999, 2150])
def test_an_imported_memory_has_one_date_on_all_devices_and_stands_behind_what_was_said_since(
    pair: Pair, year: int
) -> None:
    one, other = pair
    dated = datetime(year, 6, 1, tzinfo=UTC)
    export = memory("Of another time.", created_at=dated, updated_at=dated)
    take_in(one, [export], client="test")
    exchange(one, other)
    _agree(one, other)


def test_an_export_taken_in_on_two_devices_undoes_no_edit(pair: Pair) -> None:
    one, other = pair
    dated = datetime(2020, 6, 1, tzinfo=UTC)
    export = memory("Of another time.", created_at=dated, updated_at=dated)
    take_in(one, [export], client="test")
    revise(one, export.id, 1, Changes(pinned=True, tags=("old",)), client="test")
    take_in(other, [export], client="test")
    exchange(one, other)
    _agree(one, other)
    (there,) = memories_of(other).values()
    assert (there.pinned, there.tags) == (True, ("old",))
    # Both wrote the text; each vault holds it once.
    with other.vault.reading() as db:
        (held,) = db.execute("SELECT clocks FROM sync_states").fetchone()
    assert b"Of another time." not in held


def test_an_edit_has_the_same_date_on_all_devices_also_of_tags_alone(tmp_path: Path) -> None:
    here, there = SetClock(), SetClock()
    with (
        opened(tmp_path / "one", clock=here, ready=False) as one,
        opened(tmp_path / "other", clock=there, ready=False) as other,
    ):
        set_up(one)
        set_up(other)
        there.passes(milliseconds=7)
        (stored,) = tell(one, "The boat.")
        exchange(one, other)
        here.passes(seconds=1)
        revise(one, stored.id, 1, Changes(tags=("boat",)), client="test")
        exchange(one, other)
        _agree(one, other)
        revise(other, stored.id, 2, Changes(pinned=True), client="test")  # its clock is behind
        exchange(one, other)
        _agree(one, other)


def test_a_full_disk_takes_in_nothing_and_everything_once_there_is_room(pair: Pair) -> None:
    one, other = pair
    tell(one, *[draft(f"Number {number}. " + "word " * 200) for number in range(200)])
    said = told(one)
    with other.vault.writing() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(UnavailableError, match="disk is full"):
        hear(other, said)
    assert memories_of(other) == {}
    with other.vault.writing() as db:
        db.execute("PRAGMA max_page_count = 1000000")
    hear(other, said)
    _agree(one, other)


@pytest.mark.parametrize("field", [each for each in Field if each != Field.TEXT])
@pytest.mark.parametrize(
    "raw",
    [b"\xc1", b"", encode("a text"), encode(2**64 - 1), encode(-0.0), encode([]), encode(b"x"), encode({"a": 1})],
    ids=["nothing", "empty", "text", "huge", "nought", "list", "bytes", "map"],
)  # fmt: skip
def test_a_value_of_another_type_is_kept_and_the_memory_is_shown(
    shared_pair: Pair, field: Field, raw: bytes
) -> None:
    one, other = shared_pair
    key = os.urandom(16)
    said = Set(key, LATER, {Field.TEXT: encode("still there"), field: raw})
    for device in shared_pair:
        hear(device, [(STRANGER, said)])
    _agree(one, other)
    assert states_of(one)[key] == merge.apply(merge.EMPTY, said, STRANGER)
    assert memories_of(one)[as_id(key)].text == "still there"
