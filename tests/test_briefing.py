"""From memories with cues to lines: what is newest, open, done, coming, and what fits."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server import briefing, cues
from mcp_server.briefing import Read, Told
from mcp_server.model import Memory
from tests.builders import NOON, memory


def said(text: str, *, days_ago: float = 0, **fields: Any) -> Memory:
    return memory(text, occurred_at=NOON - timedelta(days=days_ago), kind="turn", **fields)


def read(*memories: Memory) -> list[Read]:
    return briefing.read((each, 0xFF) for each in memories)


def lines(told: list[Told]) -> list[str]:
    return [each.text for each in told]


def test_the_newest_answer_about_a_person_counts() -> None:
    found = read(
        said("I live in Rome.", days_ago=9, speaker="Ada"),
        said("I live in Oslo.", days_ago=2, speaker="Ada"),
        said("I live in Bern.", days_ago=5, speaker="Ben"),
        said("My name is Ada.", days_ago=20, speaker="Ada"),
    )
    assert lines(briefing.profile(found)) == [
        "My name is Ada.",
        "I live in Oslo.",
        "I live in Bern.",
    ]


def test_a_promise_is_open_until_a_later_memory_says_it_is_done() -> None:
    promise = said("I'll send the quarterly report to Ben.", days_ago=5)
    assert lines(briefing.promises(read(promise), NOON)) == [promise.text]
    for later, still_open in (
        (said("I sent Ben the quarterly report.", days_ago=1), False),
        (said("The quarterly report for Ben is done.", days_ago=1), False),
        (said("I sent Ben a card.", days_ago=1), True),
        (said("I sent Ben the quarterly report.", days_ago=9), True),
        (said("I sent Ben the quarterly report.", days_ago=1, space="work"), True),
    ):
        assert bool(briefing.promises(read(promise, later), NOON)) == still_open


def test_promises_with_a_day_come_first_and_old_ones_lapse() -> None:
    found = read(
        said("I'll call the bank.", days_ago=3),
        said("I'll pay the rent by Friday.", days_ago=1),
        said("I'll book the ferry for tomorrow.", days_ago=0),
        said("I'll fix the fence.", days_ago=100),
        said("I'll return the drill tomorrow.", days_ago=60),
    )
    assert [(each.text, each.note) for each in briefing.promises(found, NOON)] == [
        ("I'll book the ferry for tomorrow.", "→ Sun 2026-11-22"),
        ("I'll pay the rent by Friday.", "→ Fri 2026-11-27"),
        ("I'll call the bank.", None),
    ]


def test_days_are_coming_from_when_they_were_named_not_from_now() -> None:
    found = read(
        said("The concert is in two weeks.", days_ago=10),
        said("The fair is in two weeks.", days_ago=20),
        said("The wedding is on 3 June.", days_ago=1),
        said("Lunch with Ben tomorrow.", days_ago=0),
        memory("Dentist", kind="event", occurred_at=NOON + timedelta(days=2)),
    )
    assert [(each.text, each.note) for each in briefing.coming_up(found, NOON)] == [
        ("Lunch with Ben tomorrow.", "→ Sun 2026-11-22"),
        ("Dentist", None),
        ("The concert is in two weeks.", "→ Wed 2026-11-25"),
    ]


def test_a_memory_whose_kind_says_so_is_shown_whole() -> None:
    found = read(
        memory("Oat milk, no sugar.", kind="preference"),
        said("Hello there! I prefer tea.", days_ago=1),
    )
    told = briefing.saying(found, cues.PREFERENCE, "preference")
    assert sorted(lines(told)) == ["I prefer tea.", "Oat milk, no sugar."]


def test_a_change_is_told_with_what_it_was() -> None:
    old, new, turn = memory("lives in Rome"), memory("lives in Oslo"), memory("hm", kind="turn")
    told = briefing.changed([turn, new], {new.id: old})
    assert [(each.text, each.note) for each in told] == [
        ("lives in Oslo", "was: lives in Rome"),
        ("hm", None),
    ]


def fitted(sections: dict[str, list[Told]], max_tokens: int) -> dict[str, list[Told]]:
    return briefing.fitted(
        sections,
        dict.fromkeys(sections, 1),
        max_tokens,
        lambda told: len(told.text),
        title_cost=len,
    )


def test_the_same_words_are_told_once_where_they_matter_most() -> None:
    first, again = Told(memory("I prefer tea."), "I prefer tea."), memory("i prefer TEA")
    found = fitted(
        {"a": [first], "b": [Told(again, again.text), Told(first.memory, "prefer tea")]}, 99
    )
    assert found == {"a": [first]}


def test_a_section_with_much_to_say_leaves_the_others_their_share() -> None:
    many = [Told(memory(f"{number:02} many"), f"{number:02} many") for number in range(50)]
    few = [Told(memory("a few"), "a few")]
    found = fitted({"many": many, "few": few}, 60)
    assert found["few"] == few
    assert found["many"] == many[: len(found["many"])]


@given(
    st.lists(st.lists(st.text(min_size=1, max_size=30), max_size=8), min_size=1, max_size=5),
    st.integers(min_value=1, max_value=200),
)
def test_the_budget_is_never_exceeded(texts: list[list[str]], max_tokens: int) -> None:
    sections = {
        f"section {number}": [Told(memory(text), text) for text in section]
        for number, section in enumerate(texts)
    }
    found = fitted(sections, max_tokens)
    assert (
        sum(len(title) + sum(len(told.text) for told in found[title]) for title in found)
        <= max_tokens
    )
    for title, kept in found.items():
        places = [sections[title].index(told) for told in kept]
        assert places == sorted(places)


@pytest.mark.parametrize("text", ["", "I'll", "done", "I will send " * 200])
def test_any_memory_can_be_read(text: str) -> None:
    found = read(said(text or " "))
    briefing.promises(found, NOON)
    briefing.coming_up(found, NOON)
