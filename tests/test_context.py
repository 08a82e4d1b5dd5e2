"""What is worth knowing now, in its sections and within its budget."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_server import context, search
from mcp_server.device import Device
from mcp_server.memory import Changes, revise
from mcp_server.model import Source
from mcp_server.vault import audit, store
from shared.errors import InvalidError
from tests.builders import NOON, SetClock, draft, embedded, opened, tell, until
from tests.fakes import JudgedEmbedder


def gather(device: Device, **wanted: Any) -> dict[str, list[str]]:
    asked = {"topic": None, "spaces": None, "max_tokens": 1_000, "client": "assistant"} | wanted
    return {
        section.title: [told.text for told in section.told]
        for section in context.gather(device, **asked)
    }


def test_an_empty_vault_has_nothing_to_say(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        assert gather(device) == {}
        assert gather(device, topic="anything") == {}


def test_every_memory_stands_in_the_first_section_that_fits(tmp_path: Path) -> None:
    clock = SetClock()
    with opened(tmp_path, clock=clock) as device:
        tell(device, draft("an old decision", kind="decision"))
        clock.passes(days=40)
        tell(
            device,
            draft("answer in British English", kind="preference", pinned=True),
            draft("likes tea", kind="preference"),
            draft("dentist", kind="event", occurred_at=clock.now + timedelta(days=20)),
            draft("flight", kind="event", occurred_at=clock.now + timedelta(days=2)),
            draft("far away", kind="event", occurred_at=clock.now + timedelta(days=31)),
            draft("we take SQLite", kind="decision"),
            "just a note",
        )
        assert gather(device) == {
            "Pinned": ["answer in British English"],
            "Preferences": ["likes tea"],
            "Coming up": ["flight", "dentist"],
            "Decisions": ["we take SQLite", "an old decision"],
            "Latest": ["just a note", "far away"],
        }


def test_what_an_assistant_notes_in_the_persons_words_is_about_the_person(tmp_path: Path) -> None:
    noted = Source(trust="said_by_assistant", tool="remember")
    with opened(tmp_path) as device:
        tell(
            device,
            draft("Always answer me in British English.", kind="preference", source=noted),
            draft("I am allergic to shellfish.", kind="fact", source=noted),
            draft("User wants short answers, always.", source=noted),
            draft("I live in a data centre.", kind="turn", speaker="assistant", source=noted),
        )
        found = gather(device)

    assert found["Standing instructions"] == [
        "User wants short answers, always.",
        "Always answer me in British English.",
    ]
    assert found["About the person"] == ["I am allergic to shellfish."]
    assert "Preferences" not in found


def test_a_turn_that_becomes_a_note_is_read_anew(tmp_path: Path) -> None:
    said = Source(trust="said_by_assistant", tool="capture")
    with opened(tmp_path) as device:
        (turn,) = tell(device, draft("Always use metric units.", kind="turn", source=said))
        assert "Standing instructions" not in gather(device)

        revise(device, turn.id, 1, Changes(kind="preference"), client="assistant")

        assert gather(device)["Standing instructions"] == ["Always use metric units."]


def test_a_topic_takes_the_place_of_the_latest(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, draft("likes tea", kind="preference"), "the harbour at dusk")
        assert gather(device, topic="harbour") == {
            "Preferences": ["likes tea"],
            "On this topic": ["the harbour at dusk"],
        }
        with pytest.raises(InvalidError, match="empty"):
            gather(device, topic=" ")


def test_a_topic_that_nothing_is_about_has_no_section(tmp_path: Path) -> None:
    with opened(tmp_path, model=JudgedEmbedder) as device:
        tell(device, draft("likes tea", kind="preference"))
        tell(device, *(f"harbour {number} at dusk and at dawn" for number in range(9)))
        embedded(device)
        assert gather(device, topic="Which violin did grandmother play?") == {
            "Preferences": ["likes tea"]
        }
        assert "On this topic" in gather(device, topic="harbour 3 at dusk")


def test_on_a_topic_stands_what_is_about_it_and_not_what_is_only_nearest(tmp_path: Path) -> None:
    with opened(tmp_path, model=JudgedEmbedder) as device:
        tell(device, "our trip to Iceland was wet", "the rent is due", "a gym by the river", "tea")
        embedded(device)
        assert gather(device, topic="trip to Iceland")["On this topic"] == [
            "our trip to Iceland was wet"
        ]


def test_a_space_sees_only_its_own_however_many_others_are_newer(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, draft("mine", space="home", pinned=True))
        tell(device, *(draft(f"other {n}", space="work", pinned=True) for n in range(30)))
        assert gather(device, spaces=("home",)) == {"Pinned": ["mine"]}
        assert gather(device, spaces=()) == {}
        assert gather(device, spaces=("home",), topic="other") == {"Pinned": ["mine"]}


def test_the_newest_pins_come_first(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, *(draft(f"pin {n}", pinned=True) for n in range(5)))
        assert gather(device)["Pinned"] == [f"pin {n}" for n in (4, 3, 2, 1, 0)]


def test_what_is_over_corrected_or_put_away_is_not_worth_knowing(tmp_path: Path) -> None:
    clock = SetClock()
    with opened(tmp_path, clock=clock) as device:
        ending, wrong, away, _ = tell(
            device,
            draft("on holiday", kind="preference", valid_to=NOON + timedelta(days=1)),
            draft("lives in Rome", kind="preference", pinned=True),
            draft("likes tea", kind="preference"),
            draft("likes rain", kind="preference"),
        )
        clock.passes(days=1)
        revise(device, wrong.id, 1, Changes(text="lives in Oslo"), client="test")
        revise(device, away.id, 1, Changes(archived=True), client="test")
        assert gather(device) == {"Pinned": ["lives in Oslo"], "Preferences": ["likes rain"]}
        assert ending.status == "stored"


@pytest.mark.parametrize("max_tokens", [20, 60, 200])
def test_sections_together_stay_within_the_budget(tmp_path: Path, max_tokens: int) -> None:
    with opened(tmp_path) as device:
        tell(device, *(draft(f"pin {n} " + "x" * n, pinned=True) for n in range(0, 60, 3)))
        tell(device, *(draft(f"tea {n} " + "x" * n, kind="preference") for n in range(0, 60, 3)))
        sections = context.gather(
            device, topic=None, spaces=None, max_tokens=max_tokens, client="test"
        )
        lines = [
            text
            for section in sections
            for text in (f"{section.title}:", *(context.line(told) for told in section.told))
        ]
        assert search.tokens("\n".join(lines)) <= max_tokens


@pytest.mark.parametrize("max_tokens", [-1, 0, 10, search.TOKENS_MAX + 1])
def test_a_budget_that_holds_nothing_is_refused_instead_of_answered_with_nothing(
    tmp_path: Path, max_tokens: int
) -> None:
    with opened(tmp_path) as device:
        tell(device, draft("Always answer me in British English, please.", pinned=True))
        with pytest.raises(InvalidError, match=r"max_tokens goes|not one line of it fits"):
            gather(device, max_tokens=max_tokens)


def test_one_long_memory_does_not_hide_the_short_ones(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, draft("short", pinned=True), draft("x" * 10_000, pinned=True))
        assert gather(device, max_tokens=180)["Pinned"] == ["short"]


def test_what_was_told_is_in_the_access_log(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        stored = tell(device, draft("likes tea", kind="preference"), "a note")
        gather(device)
        with device.vault.reading() as db:
            (line,) = audit.lines(db, before=None, limit=1)
        assert (line.client, line.action, line.count) == ("assistant", "recall", 2)
        assert set(line.memories) == {each.id for each in stored}


def test_what_a_person_said_in_a_conversation_comes_up_in_the_next(tmp_path: Path) -> None:
    clock = SetClock()
    with opened(tmp_path, clock=clock) as device:
        tell(
            device,
            draft(
                "Hi! Always answer in metric units. How far is Oslo?", kind="turn", speaker="Ada"
            ),
            draft("I prefer trains.", kind="turn", speaker="Ada"),
            draft("I'll send Ben the tickets by Friday.", kind="turn", speaker="Ada"),
            draft("We decided to use SQLite.", kind="turn", speaker="Ada", space="work"),
        )
        clock.passes(days=1)
        found = gather(device)
        assert found["Standing instructions"] == ["Always answer in metric units."]
        assert found["Preferences"] == ["I prefer trains."]
        assert found["Open promises"] == ["I'll send Ben the tickets by Friday."]
        assert found["Decisions"] == ["We decided to use SQLite."]
        assert "Decisions" not in gather(device, spaces=("personal",))


def test_cues_are_found_before_the_catalogue_is_there(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, "I prefer trains.", draft("likes tea", kind="preference"))
        device.index._listed = False
        assert sorted(gather(device)["Preferences"]) == ["I prefer trains.", "likes tea"]


def test_cues_are_known_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, "I prefer trains.")
        before = device.index.catalogue.columns["flags"].max()
    with opened(tmp_path) as device:
        assert device.index.catalogue.columns["flags"].max() == before > 0


def test_memories_from_before_there_were_cues_are_read_in_the_background(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        tell(device, "I prefer trains.")
        with device.vault.writing() as db:
            store.forget_cues(db)
    with opened(tmp_path) as device:
        until(lambda: bool(device.index.catalogue.columns["flags"].any()))
        assert "Preferences" in gather(device)


def test_what_others_changed_since_the_last_session_is_told(tmp_path: Path) -> None:
    clock = SetClock()
    with opened(tmp_path, clock=clock) as device:
        (home,) = tell(device, "lives in Rome")
        gather(device)
        clock.passes(hours=2)
        revise(device, home.id, 1, Changes(text="lives in Oslo"), client="phone")
        tell(device, "a note")
        clock.passes(hours=2)
        sections = context.gather(
            device, topic=None, spaces=None, max_tokens=1_000, client="assistant"
        )
        changed = {each.title: each.told for each in sections}["Changed since the last session"]
        assert [(told.text, told.note) for told in changed] == [
            ("lives in Oslo", "was: lives in Rome"),
            ("a note", None),
        ]
        assert "Changed since the last session" not in gather(device, client="newcomer")
