"""Remembering, capturing, revising, resolving and taking in, on a real vault."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_server import findings
from mcp_server.device import Device
from mcp_server.findings import Similar, resolve
from mcp_server.memory import (
    Changes,
    capture_drafts,
    remember,
    revise,
    take_in,
)
from mcp_server.model import (
    DRAFTS_PER_CALL_MAX,
    LINKS_MAX,
    NAME_CHARS_MAX,
    TAGS_MAX,
    TEXT_BYTES_MAX,
    Draft,
    Link,
    Memory,
    Source,
)
from mcp_server.search import Asked, find
from mcp_server.vault import audit, store
from shared.errors import ConflictError, InvalidError, NotFoundError
from shared.ids import short_id
from tests.builders import NOON, SetClock, draft, memory, new_id, opened, tell

CLIENT = "test"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def mine(tmp_path: Path, clock: SetClock) -> Iterator[Device]:
    with opened(tmp_path, clock=clock) as device:
        yield device


def _all(device: Device) -> list[Memory]:
    with device.vault.reading() as db:
        return [row.memory for row in store.in_order(db, after=None, limit=10_000)]


def _recalled(device: Device, query: str, **asked: Any) -> list[str]:
    found = find(device, Asked(query=query, **asked), client=CLIENT).found
    return [each.memory.text for each in found]


def _actions(device: Device) -> list[tuple[str, int]]:
    """The access log, oldest first."""
    with device.vault.reading() as db:
        lines = audit.lines(db, before=None, limit=100)
    return [(line.action, line.count) for line in reversed(lines)]


# --- remember ------------------------------------------------------------------------------------------------


def test_a_memory_is_stored_as_it_was_said(mine: Device) -> None:
    said = Draft(
        text="  Verbatim,\r\n\ttabs and all \0 🦑 ",
        source=Source(trust="tool_output", client="c", tool="t", key="0f" * 16),
        kind="decision",
        space="work",
        tags=("b", "a", "b"),
        links=(Link("about", new_id()),),
        occurred_at=NOON - timedelta(days=3),
        valid_from=NOON - timedelta(days=2),
        valid_to=NOON + timedelta(days=2),
        speaker="Ann",
        conversation="c1",
        position=7,
        importance=0.9,
        pinned=True,
        archived=True,
    )
    (stored,) = tell(mine, said)
    assert _all(mine) == [
        memory(
            said.text,
            **{name: getattr(said, name) for name in Draft.__struct_fields__ if name != "text"}
            | {"id": stored.id, "tags": ("a", "b")},
        )
    ]


@given(text=st.text(min_size=1).filter(lambda text: text.strip()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_as_it_was_given(mine: Device, text: str) -> None:
    (stored,) = tell(mine, text)
    with mine.vault.reading() as db:
        found = store.by_id(db, stored.id)
    assert found is not None
    assert found.memory.text == text
    assert tell(mine, text)[0].id == stored.id


def test_the_same_words_in_the_same_space_are_the_same_memory(mine: Device) -> None:
    first, second, elsewhere = tell(mine, "tea", "tea", draft("tea", space="work"))
    assert (first.status, second.status, elsewhere.status) == ("stored", "known", "stored")
    assert second.id == first.id != elsewhere.id
    assert len(_all(mine)) == 2


def test_the_same_key_is_the_same_memory_whatever_it_says(mine: Device) -> None:
    keyed = Source(trust="imported", key="export:1")
    (first,) = tell(mine, draft("one", source=keyed))
    (second,) = tell(mine, draft("two", source=keyed))
    assert (second.status, second.id) == ("known", first.id)
    assert [each.text for each in _all(mine)] == ["one"]


def test_all_are_stored_or_none(mine: Device) -> None:
    with pytest.raises(InvalidError, match="Memory 3 is empty"):
        tell(mine, "one", "two", " ")
    assert _all(mine) == []
    assert _actions(mine) == []


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"text": ""}, "is empty"),
        ({"text": " \n\t\u3000"}, "is empty"),
        ({"text": "a\ud83db"}, "lone surrogate at character 1"),
        ({"text": "x" * (TEXT_BYTES_MAX + 1)}, "at most 1,000,000"),
        ({"text": "é" * (TEXT_BYTES_MAX // 2 + 1)}, "at most 1,000,000"),
        ({"space": ""}, "space is ''"),
        ({"space": "a\nb"}, "printable"),
        ({"speaker": "\x1b[31m"}, "printable"),
        ({"conversation": " "}, "conversation is ' '"),
        ({"tags": ("x" * (NAME_CHARS_MAX + 1),)}, "1 to 200"),
        ({"tags": tuple(map(str, range(TAGS_MAX + 1)))}, "too many tags"),
        ({"importance": 1.01}, "from 0 to 1"),
        ({"importance": float("nan")}, "from 0 to 1"),
        ({"valid_from": NOON, "valid_to": NOON}, "before it begins"),
    ],
    ids=str,
)
def test_what_cannot_be_stored_is_refused_with_its_reason(
    mine: Device, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidError, match=sentence):
        tell(mine, draft(**{"text": "fine"} | fields))
    assert _all(mine) == []


def test_the_largest_memory_is_kept_whole(mine: Device) -> None:
    text = "é" * (TEXT_BYTES_MAX // 2)
    tell(mine, text)
    assert [each.text for each in _all(mine)] == [text]


@pytest.mark.parametrize("number", [0, DRAFTS_PER_CALL_MAX + 1])
def test_a_call_holds_neither_nothing_nor_too_much(mine: Device, number: int) -> None:
    with pytest.raises(InvalidError):
        tell(mine, *(f"note {each}" for each in range(number)))
    assert _all(mine) == []


def test_likeness_and_contradiction_are_noticed_and_nothing_is_merged(mine: Device) -> None:
    (first,) = tell(mine, "Ann's favourite tea is oolong")
    (other,) = tell(mine, "Ann's favourite tea is sencha")
    assert other.similar == (Similar(first.id, "Ann's favourite tea is oolong", "may_contradict"),)
    (same,) = tell(mine, "Ann's favourite tea is oolong!")
    assert [(near.id, near.relation) for near in same.similar if near.id == first.id] == [
        (first.id, "near_duplicate")
    ]
    assert len(_all(mine)) == 3


def test_turns_of_a_conversation_contradict_nobody(mine: Device) -> None:
    tell(mine, draft("Ann's favourite tea is oolong", kind="turn"))
    (stored,) = tell(mine, draft("Ann's favourite tea is sencha"))
    assert stored.similar == ()


# --- capture -------------------------------------------------------------------------------------------------


def _capture(device: Device, *said: str, conversation: str = "trip", **turn: Any) -> list[str]:
    turns = [draft(text, kind="turn", speaker="Ann", **turn) for text in said]
    keyed = capture_drafts(device, conversation, turns, space="personal")
    return [one.status for one in remember(device, keyed, client=CLIENT)]


def test_a_conversation_that_grows_is_captured_once_and_in_order(mine: Device) -> None:
    assert _capture(mine, "hi", "where to?") == ["stored", "stored"]
    assert _capture(mine, "hi", "where to?", "Lisbon") == ["known", "known", "stored"]
    assert _capture(mine, "Lisbon", "when?") == ["known", "stored"]
    with mine.vault.reading() as db:
        turns = [row.memory for row in store.conversation_turns(db, "trip", limit=10)]
    assert [(turn.position, turn.text) for turn in turns] == [
        (0, "hi"),
        (1, "where to?"),
        (2, "Lisbon"),
        (3, "when?"),
    ]


def test_the_same_words_said_twice_are_two_turns(mine: Device) -> None:
    assert _capture(mine, "ok", "ok") == ["stored", "stored"]
    assert _capture(mine, "ok", "ok", "ok") == ["known", "known", "stored"]


def test_the_same_words_in_another_conversation_are_other_turns(mine: Device) -> None:
    assert _capture(mine, "ok") == ["stored"]
    assert _capture(mine, "ok", conversation="another") == ["stored"]


def test_a_captured_turn_that_was_corrected_is_still_known(mine: Device) -> None:
    _capture(mine, "We meet on Tuesday")
    (turn,) = _all(mine)
    revise(mine, turn.id, 1, Changes(text="We meet on Wednesday"), client=CLIENT)
    assert _capture(mine, "We meet on Tuesday") == ["known"]


# --- revise --------------------------------------------------------------------------------------------------


def test_a_new_text_ends_the_old_memory_and_begins_another(mine: Device, clock: SetClock) -> None:
    (old,) = tell(mine, draft("The gate code is 1234", tags=("home",), pinned=True))
    clock.passes(days=7)
    new = revise(mine, old.id, 1, Changes(text="The gate code is 9876"), client=CLIENT)
    before, after = _all(mine)
    assert (before.superseded_by, before.valid_to, before.version) == (new.id, clock.now, 2)
    assert after == new
    assert (new.text, new.tags, new.pinned, new.version) == (
        "The gate code is 9876",
        ("home",),
        True,
        1,
    )
    assert new.links == (Link("supersedes", old.id),)
    assert new.valid_from == clock.now


def test_the_old_text_leaves_recall_and_stays_in_reach_of_as_of(
    mine: Device, clock: SetClock
) -> None:
    (old,) = tell(mine, "The gate code is 1234")
    clock.passes(days=7)
    revise(mine, old.id, 1, Changes(text="The gate code is 9876"), client=CLIENT)
    clock.passes(days=7)
    assert _recalled(mine, "gate code") == ["The gate code is 9876"]
    assert _recalled(mine, "gate code", as_of=NOON + timedelta(days=1)) == ["The gate code is 1234"]


def test_other_changes_keep_the_memory(mine: Device, clock: SetClock) -> None:
    (stored,) = tell(mine, "Water the ferns")
    (was,) = _all(mine)
    clock.passes(hours=1)
    changes = Changes(
        kind="event", space="home", tags=("b", "a", "a"), importance=1.0, pinned=True, archived=True,
        valid_to=NOON + timedelta(days=1),
    )  # fmt: skip
    after = revise(mine, short_id(stored.id), 1, changes, client=CLIENT)
    assert _all(mine) == [after]
    assert after == memory(
        "Water the ferns", id=was.id, kind="event", space="home", tags=("a", "b"), importance=1.0, pinned=True,
        archived=True, valid_to=NOON + timedelta(days=1), version=2, updated_at=clock.now,
    )  # fmt: skip


def test_asking_again_for_the_same_change_does_no_harm(mine: Device) -> None:
    (stored,) = tell(mine, "Old")
    pinned = revise(mine, stored.id, 1, Changes(pinned=True), client=CLIENT)
    assert revise(mine, stored.id, 1, Changes(pinned=True), client=CLIENT) == pinned
    new = revise(mine, stored.id, 2, Changes(text="New"), client=CLIENT)
    assert revise(mine, stored.id, 2, Changes(text="New"), client=CLIENT) == new
    assert len(_all(mine)) == 2


def test_a_stale_version_is_refused_with_what_it_says_now(mine: Device) -> None:
    (stored,) = tell(mine, "The launch is on Monday")
    revise(mine, stored.id, 1, Changes(kind="event"), client=CLIENT)
    before = _all(mine)
    with pytest.raises(ConflictError, match="at version 2, not 1; it says now: 'The launch"):
        revise(mine, stored.id, 1, Changes(text="The launch is on Friday"), client=CLIENT)
    assert _all(mine) == before


def test_a_memory_can_be_revised_without_end(mine: Device) -> None:
    link = Link("about", new_id())
    (stored,) = tell(mine, draft("The state is 0.", links=(link,)))
    ids = [stored.id]
    for number in range(1, LINKS_MAX + 2):
        changes = Changes(text=f"The state is {number}.")
        ids.append(revise(mine, ids[-1], 1, changes, client=CLIENT).id)
    assert _all(mine)[-1].links == (link, Link("supersedes", ids[-2]))


def test_a_superseded_memory_is_not_revised_behind_the_new_one(mine: Device) -> None:
    (stored,) = tell(mine, "One")
    new = revise(mine, stored.id, 1, Changes(text="Two"), client=CLIENT)
    with pytest.raises(ConflictError, match=f"superseded by {new.id} .version 1.: 'Two'"):
        revise(mine, stored.id, 2, Changes(text="Three"), client=CLIENT)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (Changes(), "nothing to change"),
        (Changes(text=" "), "is empty"),
        (Changes(text="\udc80"), "lone surrogate"),
        (Changes(space="\0"), "printable"),
        (Changes(importance=-1), "from 0 to 1"),
        (Changes(valid_from=NOON, valid_to=NOON - timedelta(1)), "before it begins"),
    ],
    ids=str,
)
def test_a_change_that_cannot_be_made_changes_nothing(
    mine: Device, changes: Changes, sentence: str
) -> None:
    (stored,) = tell(mine, "Untouched")
    before = _all(mine)
    with pytest.raises(InvalidError, match=sentence):
        revise(mine, stored.id, 1, changes, client=CLIENT)
    assert _all(mine) == before


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("nope", InvalidError),
        ("", InvalidError),
        ("0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d2", InvalidError),
        ("0199f2f4-9c1e-7a10-8f7e-3f3b2a9c1d20", NotFoundError),
        ("3f3b2a9c1d", NotFoundError),
    ],
)
def test_an_id_that_names_nothing_is_told_apart_from_one_that_is_none(
    mine: Device, said: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        revise(mine, said, 1, Changes(pinned=True), client=CLIENT)


# --- resolve -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decision", "left"),
    [
        ("keep_both", ["Ann's favourite tea is oolong", "Ann's favourite tea is sencha"]),
        ("keep_first", ["Ann's favourite tea is oolong"]),
        ("keep_second", ["Ann's favourite tea is sencha"]),
    ],
)
def test_what_is_not_kept_leaves_recall(mine: Device, decision: Any, left: list[str]) -> None:
    tell(mine, "Ann's favourite tea is oolong")
    tell(mine, "Ann's favourite tea is sencha")
    with mine.vault.reading() as db:
        (finding,) = findings.open_findings(db, limit=10)
    resolve(mine, finding.number, decision, client=CLIENT)
    assert sorted(_recalled(mine, "favourite tea")) == left
    assert len(_all(mine)) == 2
    with pytest.raises(NotFoundError, match="no open finding"):
        resolve(mine, finding.number, decision, client=CLIENT)


# --- taking in -----------------------------------------------------------------------------------------------


def test_an_export_comes_back_with_its_ids_and_history(mine: Device, tmp_path: Path) -> None:
    (stored,) = tell(mine, draft("Old", tags=("t",)))
    revise(mine, stored.id, 1, Changes(text="New"), client=CLIENT)
    exported = _all(mine)
    with opened(tmp_path / "another") as other:
        assert [one.status for one in take_in(other, exported, client=CLIENT)] == ["stored"] * 2
        assert _all(other) == exported
        assert [one.status for one in take_in(other, exported, client=CLIENT)] == ["known"] * 2
        assert _all(other) == exported
        assert _recalled(other, "new") == ["New"]


def test_what_is_there_is_left_as_it_is(mine: Device) -> None:
    (stored,) = tell(mine, "Mine")
    theirs = memory("Theirs", id=stored.id)
    assert [one.status for one in take_in(mine, [theirs], client=CLIENT)] == ["known"]
    assert [each.text for each in _all(mine)] == ["Mine"]


def test_a_memory_that_could_not_have_been_stored_is_not_taken_in(mine: Device) -> None:
    bad = memory("fine", space="")
    with pytest.raises(InvalidError, match=f"Memory {bad.id}'s space is ''"):
        take_in(mine, [memory("good"), bad], client=CLIENT)
    assert _all(mine) == []


# --- the access log ------------------------------------------------------------------------------------------


def test_every_action_leaves_one_line_without_a_word_of_the_memory(mine: Device) -> None:
    (first,) = tell(mine, "Ann's favourite tea is oolong")
    tell(mine, "Ann's favourite tea is sencha", "and tea with milk")
    revise(mine, first.id, 1, Changes(pinned=True), client=CLIENT)
    _recalled(mine, "tea")
    take_in(mine, [memory("taken")], client=CLIENT)
    with mine.vault.reading() as db:
        (finding,) = findings.open_findings(db, limit=1)
    resolve(mine, finding.number, "keep_both", client=CLIENT)
    assert _actions(mine) == [
        ("remember", 1),
        ("remember", 2),
        ("revise", 1),
        ("recall", 3),
        ("import", 1),
        ("resolve", 2),
    ]
    with mine.vault.reading() as db:
        assert audit.broken_at(db, mine.keys.audit) is None
        assert "oolong" not in str(db.execute("SELECT * FROM access_log").fetchall())
