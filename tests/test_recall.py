"""Ranking: each piece of evidence alone, the places that are reserved, and when nothing is relevant."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest

from mcp_server.phrases import PREFERENCE, STANDING, TIMED
from mcp_server.recall import (
    NEARNESS,
    STEPS,
    Candidates,
    Question,
    Weights,
    evidence,
    lasting,
    rarity,
    relevance,
    score,
    with_reserved,
    word_score,
)
from mcp_server.when import Named, Span
from shared.clock import to_ms
from tests.pools import ASKED, ASSISTANT, DAY, WEIGHTS, candidates, reasons


def told(found: Candidates, question: Question = ASKED) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in evidence(question, found, ASSISTANT).items()}


def order(found: Candidates, question: Question = ASKED, weights: Weights = WEIGHTS) -> list[int]:
    """The places of the candidates, best first."""
    return [int(row) - 10 for row in score(question, found, ASSISTANT, weights).rows]


def asked(**fields: Any) -> Question:
    return msgspec.structs.replace(ASKED, **fields)


def date(since: datetime, until: str, *, relative: bool = False) -> Named:
    return Named(
        Span(since, datetime.fromisoformat(until).replace(tzinfo=UTC)), "", relative=relative
    )


def day(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


# For each: two memories alike but for one thing, the second of which is to be ranked first.
BETTER: dict[str, tuple[Question, dict[str, Any], dict[str, Any]]] = {
    "more words": (ASKED, {"words": 1}, {"words": 2}),
    "nearer meaning": (ASKED, {"meaning": 0.4}, {"meaning": 0.5}),
    "an unlike meaning is no worse than none": (ASKED, {"meaning": -0.5}, {"meaning": 0.01}),
    "both rather than one": (ASKED, {"words": 1}, {"words": 1, "meaning": 0.3}),
    "the speaker named": (asked(speaker=3), {"speaker": 2}, {"speaker": 3}),
    "a day named": (
        asked(dates=(date(DAY, "2023-05-09"),)),
        {"when_ms": day("2023-04-30")},
        {"when_ms": day("2023-05-15")},
    ),
    "a month named": (
        asked(dates=(date(DAY.replace(day=1), "2023-06-01"),)),
        {"when_ms": day("2023-06-01")},
        {"when_ms": day("2023-05-31")},
    ),
    "a year named": (
        asked(dates=(date(DAY.replace(month=1, day=1), "2024-01-01"),)),
        {"when_ms": day("2022-12-31")},
        {"when_ms": day("2023-12-31")},
    ),
    "a day counted from now, which is that day": (
        asked(dates=(date(DAY, "2023-05-09", relative=True),)),
        {"when_ms": day("2023-05-07"), "meaning": 0.5},
        {"when_ms": day("2023-05-08")},
    ),
    "whatever it is, if only the time is asked for": (
        asked(dates=(date(DAY.replace(month=3, day=1), "2023-06-01"),), telling=False),
        {"when_ms": day("2023-06-01"), "meaning": 1, "says": [0, 1]},
        {"when_ms": day("2023-03-01")},
    ),
    "a word of the question": (ASKED, {}, {"says": [0]}),
    "more words of the question": (ASKED, {"says": [0]}, {"says": [0, 1]}),
    "a time, asked when": (asked(asks_when=True), {}, {"flags": TIMED}),
    "the newer": (ASKED, {"when_ms": 1}, {"when_ms": 2}),
    "the more important": (ASKED, {"importance": 0.1}, {"importance": 0.9}),
    "the pinned": (ASKED, {}, {"pinned": True}),
    "the person's, not the assistant's": (
        ASKED,
        {"trust": ASSISTANT, "conversation": 1},
        {"conversation": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("question", "worse", "better"), BETTER.values(), ids=BETTER)
def test_one_piece_of_evidence_decides_between_equals(
    question: Question, worse: dict[str, Any], better: dict[str, Any]
) -> None:
    assert order(candidates(worse, better), question) == [1, 0]
    assert order(candidates(better, worse), question) == [0, 1]


# The second is no better than the first: the order stays that of the rows.
EQUAL: dict[str, tuple[Question, dict[str, Any], dict[str, Any]]] = {
    "no speaker named": (ASKED, {"speaker": 2}, {"speaker": 3}),
    "a time, not asked when": (ASKED, {}, {"flags": TIMED}),
    "instructions and preferences among the first": (ASKED, {}, {"flags": STANDING | PREFERENCE}),
    "noted by the assistant, in no conversation": (ASKED, {"trust": ASSISTANT}, {}),
}


@pytest.mark.parametrize(("question", "first", "second"), EQUAL.values(), ids=EQUAL)
def test_what_was_not_asked_for_decides_nothing(
    question: Question, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert order(candidates(first, second), question) == [0, 1]
    assert order(candidates(second, first), question) == [0, 1]


@pytest.mark.parametrize("step", STEPS)
def test_what_was_said_around_counts_for_a_memory_the_nearer_the_more(step: int) -> None:
    found = candidates({}, {}, {"says": [0]}, beside={step: [-1, 2, -1]})
    assert told(found)["around"] == pytest.approx([0, NEARNESS[step] / 2, 0.5])
    assert order(found) == [2, 1, 0]


def test_a_word_said_several_times_around_counts_where_it_is_nearest() -> None:
    found = candidates(
        {}, {"says": [0]}, {"says": [0, 1]}, beside={-1: [1, -1, -1], 1: [2, -1, -1]}
    )
    assert told(found)["around"][0] == pytest.approx((0.8 + 0.7) / 2)


def test_a_rare_word_said_around_counts_more_than_a_common_one() -> None:
    common, rare = {"says": [0]}, {"says": [1]}
    found = candidates(common, rare, rarities=(1.0, 3.0))
    assert told(found)["around"] == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize("rarities", [(), (0.0, 0.0)], ids=["no words", "words that tell nothing"])
def test_without_telling_words_nothing_is_said_around(rarities: tuple[float, ...]) -> None:
    found = candidates({"says": [0]}, {"question": True}, rarities=rarities, beside={-1: [1, -1]})
    assert (told(found)["around"], told(found)["answers"]) == ([0, 0], [0, 0])


@pytest.mark.parametrize("step", [-1, 1])
def test_the_meaning_of_the_next_neighbours_lifts(step: int) -> None:
    found = candidates({}, {}, {"meaning": 0.9}, beside={step: [-1, 2, -1]})
    assert order(found) == [2, 1, 0]


def test_a_neighbour_that_may_not_be_returned_lends_evidence_and_stays_away() -> None:
    found = candidates({}, {}, {"says": [0], "eligible": False}, beside={1: [-1, 2, -1]})
    assert order(found) == [1, 0]


def test_the_answer_to_a_question_is_lifted_above_the_follower_of_a_statement() -> None:
    statement, question = {"says": [0]}, {"says": [0], "question": True}
    found = candidates(statement, {}, question, {}, beside={-1: [-1, 0, -1, 2]})
    ranked = order(found)
    assert ranked.index(3) < ranked.index(1)


def test_what_follows_a_question_of_an_assistant_is_not_taken_for_its_answer() -> None:
    by_assistant = {"says": [0], "question": True, "trust": ASSISTANT, "conversation": 1}
    found = candidates(by_assistant, {"conversation": 1}, beside={-1: [-1, 0]})
    assert told(found)["answers"] == [0, 0]


def test_an_answer_to_a_question_about_something_else_is_not_lifted() -> None:
    found = candidates({"question": True}, {"says": [0]}, beside={-1: [-1, 0]})
    assert told(found)["answers"] == [0, 0]


def test_a_conversation_that_answers_lifts_its_other_turns() -> None:
    found = candidates({"conversation": 1}, {"conversation": 2}, {"words": 1, "conversation": 2})
    assert order(found) == [2, 1, 0]


def test_an_assistant_asked_for_what_it_said_is_lowered_less() -> None:
    by_assistant = {"trust": ASSISTANT, "conversation": 1}
    lowered = [
        float(
            score(asked(of_assistant=of_it), candidates(by_assistant), ASSISTANT, WEIGHTS).scores[0]
        )
        for of_it in (False, True)
    ]
    assert lowered[0] < lowered[1] < 0


def test_no_date_is_evidence_if_none_is_named() -> None:
    found = told(candidates({"when_ms": to_ms(DAY)}), asked(telling=False))
    assert (found["date"], found["asked_of_then"]) == ([0], [0])


def test_outside_of_conversations_nobody_is_lifted() -> None:
    found = candidates({}, {"words": 1}, {})
    assert reasons(score(ASKED, found, ASSISTANT, WEIGHTS)) == ["words", "", ""]


def test_a_speaker_named_does_not_beat_what_was_said() -> None:
    # "What did Ann tell Bob about the harbour" is often said by Bob.
    about_it = {"words": 1, "meaning": 0.6, "speaker": 2}
    by_ann = {"words": 0.3, "meaning": 0.4, "speaker": 3}
    assert order(candidates(by_ann, about_it), asked(speaker=3)) == [1, 0]


def test_importance_and_a_pin_only_break_ties() -> None:
    found = candidates({"importance": 1.0, "pinned": True, "words": 0.6}, {"words": 1})
    assert order(found) == [1, 0]


def test_the_worth_of_a_date_falls_with_its_width() -> None:
    year = date(DAY.replace(month=1, day=1), "2024-01-01")
    season = date(DAY.replace(month=3, day=1), "2023-06-01")
    month = date(DAY.replace(day=1), "2023-06-01")
    day_asked = date(DAY, "2023-05-09")
    found = candidates({"when_ms": to_ms(DAY)})
    scores = [
        float(score(asked(dates=dates), found, ASSISTANT, WEIGHTS).scores[0])
        for dates in ((), (year,), (year, season), (season, month), (month, day_asked))
    ]
    assert np.diff(scores) == pytest.approx([0.2, 0.3, 0.2, 0.3], abs=1e-6)


def test_reasons_name_what_weighs_most_and_no_trifle() -> None:
    found = candidates({"words": 1}, {"words": 1, "meaning": 0.4}, {"meaning": 0.9}, {"words": 0.2})
    ranked = score(ASKED, found, ASSISTANT, WEIGHTS)
    said = dict(zip((ranked.rows - 10).tolist(), reasons(ranked), strict=True))
    assert said == {0: "words", 1: "words+meaning", 2: "meaning", 3: "words"}


def test_what_a_memory_says_itself_is_no_merit_of_its_neighbours() -> None:
    found = candidates({"words": 1, "says": [0, 1]}, {}, beside={-1: [-1, 0]})
    assert reasons(score(ASKED, found, ASSISTANT, WEIGHTS)) == ["words", "beside"]


@pytest.mark.parametrize("eligible", [[], [False, False]], ids=["nothing", "nothing eligible"])
def test_nothing_found_is_an_empty_ranking(eligible: list[bool]) -> None:
    found = candidates(*({"eligible": each, "words": 1} for each in eligible))
    ranked = score(ASKED, found, ASSISTANT, WEIGHTS)
    assert (ranked.rows.tolist(), ranked.scores.tolist(), reasons(ranked)) == ([], [], [])


def test_a_word_tells_the_more_the_fewer_say_it() -> None:
    assert rarity(0, 100) > rarity(1, 100) > rarity(99, 100) > rarity(100, 100) > 0


def test_a_word_said_twice_says_little_more_than_said_once() -> None:
    none, once, twice, often = word_score(2.0, np.array([0, 1, 2, 15], np.uint8)).tolist()
    assert (none, once) == (0, pytest.approx(2.0))
    assert once < twice < often < 1.3 * once


RELEVANT: dict[str, tuple[list[dict[str, Any]], float]] = {
    "near in meaning, all said by one": ([{"meaning": 0.6, "says": [0, 1]}, {}], 0.6 + 0.3),
    "near in meaning, nothing said": ([{"meaning": 0.6}, {}], 0.6 - 0.4),
    "half of it said by each": ([{"says": [0]}, {"says": [1]}], 0.15),
    "the rest is not said": ([{"says": [0]}, {"says": [0]}], 0.15 - 0.2),
    "the nearest may not be returned": (
        [{"meaning": 0.9, "says": [0, 1], "eligible": False}],
        -0.4,
    ),
    "opposite in meaning": ([{"meaning": -0.5}], -0.4),
    "nothing there": ([], -0.4),
}


@pytest.mark.parametrize(("memories", "expected"), RELEVANT.values(), ids=RELEVANT)
def test_relevance_is_nearness_and_what_of_the_question_is_said(
    memories: list[dict[str, Any]], expected: float
) -> None:
    assert relevance(candidates(*memories)) == pytest.approx(expected)


def test_a_question_without_words_is_judged_by_meaning_alone() -> None:
    assert relevance(candidates({"meaning": 0.5}, rarities=())) == pytest.approx(0.5)


def test_what_lasts_has_places_right_behind_the_first_ten() -> None:
    cues = np.zeros(40, np.uint8)
    cues[[20, 21, 22, 23]] = STANDING
    cues[[30, 31]] = PREFERENCE
    assert with_reserved(cues, STANDING | PREFERENCE).tolist() == [
        *range(10), 20, 30, 21, 31, 22, 10, 23, *range(11, 20), *range(24, 30), *range(32, 40),
    ]  # fmt: skip


def test_a_question_about_somebody_leaves_no_places_to_preferences() -> None:
    asked_about, asked_anything = asked(names_somebody=True), asked()
    assert lasting(asked_about) == STANDING
    assert lasting(asked_anything) == STANDING | PREFERENCE


def test_what_lasts_and_came_higher_by_itself_stays_there() -> None:
    cues = np.zeros(12, np.uint8)
    cues[[0, 3]] = STANDING
    assert with_reserved(cues, STANDING | PREFERENCE).tolist() == list(range(12))


def test_a_ranking_is_taken_with_its_reserved_places() -> None:
    better = [{"words": 20 - place} for place in range(20)]
    assert order(candidates(*better, {"flags": STANDING}))[9:12] == [9, 20, 10]
