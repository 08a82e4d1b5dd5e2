"""Ranking: each piece of evidence alone, and what holds for all of them together."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.recall import Candidates, Question, Ranked, Weights, reason, score, understand
from mcp_server.when import Span
from shared.clock import to_ms

ASSISTANT = 1
WEIGHTS = Weights()
DAY = datetime(2023, 5, 8, tzinfo=UTC)
DAY_MS = 86_400_000
ASKED = Question(text="", dates=(), speaker=None, of_assistant=False)

COLUMNS: dict[str, tuple[Any, Any]] = {
    "question": (np.bool_, False),
    "conversation": (np.int32, -1),
    "speaker": (np.int32, -1),
    "when_ms": (np.int64, 0),
    "chars": (np.int32, 60),
    "importance": (np.float32, 0.5),
    "pinned": (np.bool_, False),
    "trust": (np.int8, 0),
}


def candidates(*memories: dict[str, Any], beside: dict[int, list[int]] | None = None) -> Candidates:
    """One dict for each memory; what it does not name is as usual."""

    def column(name: str, dtype: Any, usual: Any) -> Any:
        return np.array([each.get(name, usual) for each in memories], dtype)

    nobody = [-1] * len(memories)
    return Candidates(
        rows=np.arange(10, 10 + len(memories), dtype=np.int64),
        words=column("words", np.float32, 0),
        meaning=column("meaning", np.float32, 0),
        eligible=column("eligible", np.bool_, True),
        columns={name: column(name, dtype, usual) for name, (dtype, usual) in COLUMNS.items()},
        beside={
            step: np.array((beside or {}).get(step, nobody), np.int64) for step in (-2, -1, 1, 2)
        },
    )


def order(found: Candidates, question: Question = ASKED, weights: Weights = WEIGHTS) -> list[int]:
    """The places of the candidates, best first."""
    return [int(row) - 10 for row in score(question, found, ASSISTANT, weights).rows]


def asked(**fields: Any) -> Question:
    return msgspec.structs.replace(ASKED, **fields)


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
        asked(dates=(Span(DAY, datetime(2023, 5, 9, tzinfo=UTC)),)),
        {"when_ms": day("2023-04-30")},
        {"when_ms": day("2023-05-15")},
    ),
    "a month named": (
        asked(dates=(Span(DAY.replace(day=1), datetime(2023, 6, 1, tzinfo=UTC)),)),
        {"when_ms": day("2023-06-01")},
        {"when_ms": day("2023-05-31")},
    ),
    "a year named": (
        asked(dates=(Span(datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)),)),
        {"when_ms": day("2022-12-31")},
        {"when_ms": day("2023-12-31")},
    ),
    "the longer": (ASKED, {"chars": 10}, {"chars": 200}),
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
    "no date named": (ASKED, {"when_ms": 0}, {"when_ms": day("2023-05-08")}),
    "an open span": (asked(dates=(Span(DAY, None),)), {"when_ms": 0}, {"when_ms": to_ms(DAY)}),
    "asked for what the assistant said": (
        asked(of_assistant=True),
        {"trust": ASSISTANT, "conversation": 1},
        {"conversation": 1},
    ),
    "noted by the assistant, in no conversation": (ASKED, {"trust": ASSISTANT}, {}),
    "very long and longer": (ASKED, {"chars": 100_000}, {"chars": 1_000_000}),
}


@pytest.mark.parametrize(("question", "first", "second"), EQUAL.values(), ids=EQUAL)
def test_what_was_not_asked_for_decides_nothing(
    question: Question, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert order(candidates(first, second), question) == [0, 1]
    assert order(candidates(second, first), question) == [0, 1]


@pytest.mark.parametrize("step", [-2, -1, 1, 2])
def test_a_good_neighbour_lifts(step: int) -> None:
    good = {"words": 1, "meaning": 0.9}
    found = candidates({}, {}, good, beside={step: [-1, 2, -1]})
    assert order(found) == [2, 1, 0]


def reasons(ranked: Ranked) -> list[str]:
    return [reason(ranked, place) for place in range(len(ranked.rows))]


def test_a_neighbour_that_may_not_be_returned_lends_evidence_and_stays_away() -> None:
    found = candidates({}, {}, {"words": 1, "eligible": False}, beside={1: [-1, 2, -1]})
    assert order(found) == [1, 0]


def test_the_answer_to_a_question_is_lifted_above_the_follower_of_a_statement() -> None:
    statement, question = {"words": 1}, {"words": 1, "question": True}
    found = candidates(statement, {}, question, {}, beside={-1: [-1, 0, -1, 2]})
    ranked = order(found)
    assert ranked.index(3) < ranked.index(1)


def test_a_conversation_that_answers_lifts_its_other_turns() -> None:
    found = candidates({"conversation": 1}, {"conversation": 2}, {"words": 1, "conversation": 2})
    assert order(found) == [2, 1, 0]


def test_outside_of_conversations_nobody_is_lifted() -> None:
    found = candidates({}, {"words": 1}, {})
    assert reasons(score(ASKED, found, ASSISTANT, WEIGHTS)) == ["words", "", ""]


def test_a_speaker_named_does_not_beat_what_was_said() -> None:
    # "What did Ann tell Bob about the harbour" is often said by Bob.
    about_it = {"words": 1, "meaning": 0.6, "speaker": 2}
    by_ann = {"words": 0.3, "meaning": 0.4, "speaker": 3}
    assert order(candidates(by_ann, about_it), asked(speaker=3)) == [1, 0]


def test_importance_and_a_pin_only_break_ties() -> None:
    found = candidates({"importance": 1.0, "pinned": True, "words": 0.7}, {"words": 1})
    assert order(found) == [1, 0]


def test_the_worth_of_a_date_falls_with_its_width() -> None:
    year = Span(datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC))
    month = Span(DAY.replace(day=1), datetime(2023, 6, 1, tzinfo=UTC))
    day_asked = Span(DAY, datetime(2023, 5, 9, tzinfo=UTC))
    found = candidates({"when_ms": to_ms(DAY)})
    scores = [
        float(score(asked(dates=dates), found, ASSISTANT, WEIGHTS).scores[0])
        for dates in ((), (year,), (year, month), (year, month, day_asked))
    ]
    assert np.diff(scores) == pytest.approx([0.2, 0.5, 0.3], abs=1e-6)


def test_reasons_name_what_weighs_most_and_no_trifle() -> None:
    found = candidates({"words": 1}, {"words": 1, "meaning": 0.6}, {"meaning": 0.9}, {"words": 0.2})
    ranked = score(ASKED, found, ASSISTANT, WEIGHTS)
    said = dict(zip((ranked.rows - 10).tolist(), reasons(ranked), strict=True))
    assert said == {0: "words", 1: "words+meaning", 2: "meaning", 3: "words"}


@pytest.mark.parametrize("eligible", [[], [False, False]], ids=["nothing", "nothing eligible"])
def test_nothing_found_is_an_empty_ranking(eligible: list[bool]) -> None:
    found = candidates(*({"eligible": each, "words": 1} for each in eligible))
    ranked = score(ASKED, found, ASSISTANT, WEIGHTS)
    assert (ranked.rows.tolist(), ranked.scores.tolist(), reasons(ranked)) == ([], [], [])


UNDERSTOOD: dict[str, tuple[int | None, bool]] = {
    "What did Ann say about Rome?": (1, False),
    "Ann's harbour": (1, False),
    "ann": (1, False),
    "Where does Bob Miller live": (2, False),
    "the miller's tale": (2, False),
    "Ann and Bob": (None, False),
    "Annabel": (None, False),
    "what did the user ask": (None, False),
    "What did you recommend for dinner?": (None, True),
    "the restaurant Claude has suggested": (None, True),
    "what the assistant gave me": (None, True),
    "What did you and Ann eat": (1, False),
    "": (None, False),
}


@pytest.mark.parametrize(("text", "expected"), UNDERSTOOD.items(), ids=UNDERSTOOD)
def test_a_question_is_understood_as_far_as_words_allow(
    text: str, expected: tuple[int | None, bool]
) -> None:
    understood = understand(text, {"user": 0, "Ann": 1, "Bob Miller": 2, "assistant": 3})
    assert (understood.speaker, understood.of_assistant) == expected
    assert understood.text == text


def test_a_question_knows_the_dates_it_names() -> None:
    understood = understand("What did I do on 8 May 2023?", {})
    assert understood.dates == (Span(DAY, datetime(2023, 5, 9, tzinfo=UTC)),)


described = st.fixed_dictionaries(
    {
        "words": st.floats(0, 20, width=32),
        "meaning": st.floats(-1, 1, width=32),
        "eligible": st.booleans(),
        "question": st.booleans(),
        "conversation": st.integers(-1, 2),
        "speaker": st.integers(-1, 2),
        "when_ms": st.integers(-DAY_MS, DAY_MS * 20_000),
        "chars": st.integers(0, 2**31 - 1),
        "importance": st.floats(0, 1, width=32),
        "pinned": st.booleans(),
        "trust": st.integers(0, 3),
    }
)
questions = st.builds(
    Question,
    text=st.just(""),
    dates=st.lists(st.just(Span(DAY, datetime(2023, 5, 9, tzinfo=UTC))), max_size=1).map(tuple),
    speaker=st.none() | st.integers(0, 2),
    of_assistant=st.booleans(),
)


@st.composite
def pools(draw: st.DrawFn, *, size_min: int = 0) -> Candidates:
    memories = draw(st.lists(described, min_size=size_min, max_size=8))
    places = st.integers(-1, len(memories) - 1)
    beside = {
        step: draw(st.lists(places, min_size=len(memories), max_size=len(memories)))
        for step in (-2, -1, 1, 2)
    }
    return candidates(*memories, beside=beside)


def scores_of(ranked: Ranked) -> dict[int, float]:
    return dict(zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True))


@given(pools(), questions)
def test_everything_eligible_is_ranked_once_by_a_finite_score(
    found: Candidates, question: Question
) -> None:
    ranked = score(question, found, ASSISTANT, WEIGHTS)
    assert sorted(ranked.rows.tolist()) == found.rows[found.eligible].tolist()
    assert np.isfinite(ranked.scores).all()
    assert ranked.scores.tolist() == sorted(ranked.scores.tolist(), reverse=True)
    assert len(reasons(ranked)) == len(ranked.rows)


@given(pools(size_min=1), questions, st.data())
def test_more_words_of_the_question_never_rank_a_memory_lower(
    found: Candidates, question: Question, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(found.rows) - 1))
    words = found.words.copy()
    words[place] += np.float32(data.draw(st.floats(0.125, 10, width=32)))
    row = int(found.rows[place])
    before = scores_of(score(question, found, ASSISTANT, WEIGHTS))
    after = scores_of(
        score(question, msgspec.structs.replace(found, words=words), ASSISTANT, WEIGHTS)
    )
    for other in before.keys() & after.keys():
        if row in before and before[row] > before[other]:
            assert after[row] >= after[other] - 1e-4


@given(pools(), questions)
def test_a_question_without_keywords_is_ranked_by_meaning_alone(
    found: Candidates, question: Question
) -> None:
    silent = msgspec.structs.replace(found, words=np.zeros_like(found.words))
    ranked = score(question, silent, ASSISTANT, WEIGHTS)
    assert np.isfinite(ranked.scores).all()
    assert not any("words" in reason for reason in reasons(ranked))


@given(pools(), questions, st.floats(0.01, 100))
def test_the_scale_of_the_keyword_index_does_not_matter(
    found: Candidates, question: Question, factor: float
) -> None:
    scaled = msgspec.structs.replace(found, words=(found.words * factor).astype(np.float32))
    one = scores_of(score(question, found, ASSISTANT, WEIGHTS))
    two = scores_of(score(question, scaled, ASSISTANT, WEIGHTS))
    assert one == pytest.approx(two, abs=1e-3)
