"""Ranking: each piece of evidence alone, and what holds for all of them together."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.phrases import PREFERENCE, STANDING, TIMED
from mcp_server.recall import (
    NEARNESS,
    RESERVED,
    STEPS,
    Candidates,
    Question,
    Ranked,
    Weights,
    evidence,
    rarity,
    reason,
    relevance,
    score,
    understand,
    with_reserved,
    word_score,
)
from mcp_server.when import Span
from shared.clock import to_ms

ASSISTANT = 1
WEIGHTS = Weights()
DAY = datetime(2023, 5, 8, tzinfo=UTC)
DAY_MS = 86_400_000
ASKED = Question(text="", dates=(), speaker=None, of_assistant=False, asks_when=False)

COLUMNS: dict[str, tuple[Any, Any]] = {
    "question": (np.bool_, False),
    "conversation": (np.int32, -1),
    "speaker": (np.int32, -1),
    "when_ms": (np.int64, 0),
    "flags": (np.uint8, 0),
    "importance": (np.float32, 0.5),
    "pinned": (np.bool_, False),
    "trust": (np.int8, 0),
}


def candidates(
    *memories: dict[str, Any],
    beside: dict[int, list[int]] | None = None,
    rarities: tuple[float, ...] = (1.0, 1.0),
) -> Candidates:
    """One dict for each memory; what it does not name is as usual. `says` numbers the words of the question that it says."""

    def column(name: str, dtype: Any, usual: Any) -> Any:
        return np.array([each.get(name, usual) for each in memories], dtype)

    nobody = [-1] * len(memories)
    return Candidates(
        rows=np.arange(10, 10 + len(memories), dtype=np.int64),
        words=column("words", np.float32, 0),
        said=np.array(
            [[word in each.get("says", ()) for each in memories] for word in range(len(rarities))],
            np.bool_,
        ).reshape(len(rarities), len(memories)),
        rarity=np.array(rarities, np.float32),
        meaning=column("meaning", np.float32, 0),
        eligible=column("eligible", np.bool_, True),
        columns={name: column(name, dtype, usual) for name, (dtype, usual) in COLUMNS.items()},
        beside={step: np.array((beside or {}).get(step, nobody), np.int64) for step in STEPS},
    )


def told(found: Candidates, question: Question = ASKED) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in evidence(question, found, ASSISTANT).items()}


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


def reasons(ranked: Ranked) -> list[str]:
    return [reason(ranked, place) for place in range(len(ranked.rows))]


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


def test_no_date_is_evidence_if_none_is_named_or_the_span_is_open() -> None:
    found = candidates({"when_ms": to_ms(DAY)})
    for dates in ((), (Span(DAY, None),), (Span(None, DAY),)):
        assert told(found, asked(dates=dates))["date"] == [0]


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


def named(words: Iterable[str]) -> set[int]:
    """As the catalogue answers: "user" and "assistant" are nobody in particular."""
    return {code for word, code in {"ann": 1, "bob": 2, "miller": 2}.items() if word in words}


UNDERSTOOD: dict[str, tuple[int | None, bool, bool]] = {
    "What did Ann say about Rome?": (1, False, False),
    "Ann's harbour": (1, False, False),
    "ann": (1, False, False),
    "Where does Bob Miller live": (2, False, False),
    "the miller's tale": (2, False, False),
    "Ann and Bob": (None, False, False),
    "Annabel": (None, False, False),
    "What did you recommend for dinner?": (None, True, False),
    "the restaurant Claude has suggested": (None, True, False),
    "what the assistant gave me": (None, True, False),
    "What did you and Ann eat": (1, False, False),
    "When did we move?": (None, False, True),
    "How long has Ann lived here": (1, False, True),
    "In which year was it": (None, False, True),
    "How many weeks ago did you say so?": (None, True, True),
    "How many boats are there": (None, False, False),
    "Tell me when it rains": (None, False, False),
    "": (None, False, False),
}


@pytest.mark.parametrize(("text", "expected"), UNDERSTOOD.items(), ids=UNDERSTOOD)
def test_a_question_is_understood_as_far_as_words_allow(
    text: str, expected: tuple[int | None, bool, bool]
) -> None:
    understood = understand(text, named)
    assert (understood.speaker, understood.of_assistant, understood.asks_when) == expected
    assert understood.text == text


def test_a_question_knows_the_dates_it_names() -> None:
    understood = understand("What did I do on 8 May 2023?", named)
    assert understood.dates == (Span(DAY, datetime(2023, 5, 9, tzinfo=UTC)),)


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
    assert with_reserved(cues).tolist() == [
        *range(10), 20, 30, 21, 31, 22, 10, *range(11, 20), *range(23, 30), *range(32, 40),
    ]  # fmt: skip


def test_what_lasts_and_came_higher_by_itself_stays_there() -> None:
    cues = np.zeros(12, np.uint8)
    cues[[0, 3]] = STANDING
    assert with_reserved(cues).tolist() == list(range(12))


def test_a_ranking_is_taken_with_its_reserved_places() -> None:
    better = [{"words": 20 - place} for place in range(20)]
    assert order(candidates(*better, {"flags": STANDING}))[9:12] == [9, 20, 10]


described = st.fixed_dictionaries(
    {
        "words": st.floats(0, 20, width=32),
        "meaning": st.floats(-1, 1, width=32),
        "eligible": st.booleans(),
        "question": st.booleans(),
        "conversation": st.integers(-1, 2),
        "speaker": st.integers(-1, 2),
        "when_ms": st.integers(-DAY_MS, DAY_MS * 20_000),
        "flags": st.sampled_from([0, STANDING, PREFERENCE, TIMED, STANDING | PREFERENCE]),
        "says": st.sets(st.integers(0, 1)),
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
    asks_when=st.booleans(),
)


@st.composite
def pools(draw: st.DrawFn, *, size_min: int = 0) -> Candidates:
    memories = draw(st.lists(described, min_size=size_min, max_size=16))
    places = st.integers(-1, len(memories) - 1)
    beside = {
        step: draw(st.lists(places, min_size=len(memories), max_size=len(memories)))
        for step in STEPS
    }
    rarities = draw(st.tuples(st.floats(0, 20, width=32), st.floats(0, 20, width=32)))
    return candidates(*memories, beside=beside, rarities=rarities)


def scores_of(ranked: Ranked) -> dict[int, float]:
    return dict(zip(ranked.rows.tolist(), ranked.scores.tolist(), strict=True))


@given(pools(), questions)
def test_everything_eligible_is_ranked_once_by_a_finite_score(
    found: Candidates, question: Question
) -> None:
    ranked = score(question, found, ASSISTANT, WEIGHTS)
    assert sorted(ranked.rows.tolist()) == found.rows[found.eligible].tolist()
    assert np.isfinite(ranked.scores).all()
    unreserved = ranked.scores.tolist()[: min(RESERVED)]
    assert unreserved == sorted(unreserved, reverse=True)
    assert unreserved == sorted(ranked.scores.tolist(), reverse=True)[: len(unreserved)]
    assert len(reasons(ranked)) == len(ranked.rows)


@given(pools(), questions)
def test_all_evidence_lies_between_nothing_and_one(found: Candidates, question: Question) -> None:
    told = evidence(question, found, ASSISTANT)
    assert set(told) == set(Weights.__struct_fields__)
    for name, values in told.items():
        assert len(values) == len(found.rows), name
        assert ((values >= 0) & (values <= 1 + 1e-6)).all(), name


@given(pools(), st.floats(0, 1, width=32))
def test_a_memory_nearer_in_meaning_never_makes_a_question_less_relevant(
    found: Candidates, nearness: float
) -> None:
    nearer = msgspec.structs.replace(found, meaning=np.maximum(found.meaning, np.float32(nearness)))
    assert relevance(nearer) >= relevance(found)


@given(pools(), questions, st.data())
def test_the_order_of_the_candidates_does_not_matter(
    found: Candidates, question: Question, data: st.DataObject
) -> None:
    """Nothing may depend on where a candidate stands among the others, only on what stands beside it."""
    new = np.array(data.draw(st.permutations(range(len(found.rows)))), np.int64)
    place = np.argsort(new)  # where each candidate went; the last is for nobody
    went = np.append(place, -1)
    mixed = Candidates(
        rows=found.rows[new],
        words=found.words[new],
        said=found.said[:, new],
        rarity=found.rarity,
        meaning=found.meaning[new],
        eligible=found.eligible[new],
        columns={name: column[new] for name, column in found.columns.items()},
        beside={step: went[beside[new]] for step, beside in found.beside.items()},
    )
    one, two = evidence(question, found, ASSISTANT), evidence(question, mixed, ASSISTANT)
    for name in one:
        assert two[name][place] == pytest.approx(one[name]), name
    assert scores_of(score(question, mixed, ASSISTANT, WEIGHTS)) == pytest.approx(
        scores_of(score(question, found, ASSISTANT, WEIGHTS)), abs=1e-5
    )


@given(st.lists(st.sampled_from([0, STANDING, PREFERENCE, STANDING | PREFERENCE]), max_size=40))
def test_reserved_places_lose_nobody_and_leave_the_others_in_order(cues: list[int]) -> None:
    places = with_reserved(np.array(cues, np.uint8)).tolist()
    assert sorted(places) == list(range(len(cues)))
    assert places[: min(RESERVED)] == list(range(len(cues)))[: min(RESERVED)]
    for place, cue in RESERVED.items():
        # Nobody of that kind waits below a place that another took.
        assert place >= len(places) or cues[places[place]] & cue or not any(
            cues[other] & cue for other in places[place:]
        )  # fmt: skip
    others = [place for place in places if not cues[place]]
    assert others == sorted(others)


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
    silent = msgspec.structs.replace(
        found, words=np.zeros_like(found.words), said=np.zeros_like(found.said)
    )
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
