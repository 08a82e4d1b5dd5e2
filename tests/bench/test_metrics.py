"""Every metric against values worked out by hand, and the laws that hold whatever the ranking."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import metrics
from bench.metrics import Answered

RANKING = ("a", "b", "c", "d", "e", "f")


@pytest.mark.parametrize(
    ("evidence", "cutoff", "any_", "all_", "recall"),
    [
        pytest.param({"a"}, 1, 1, 1, 1, id="the one piece first"),
        pytest.param({"f"}, 5, 0, 0, 0, id="just outside"),
        pytest.param({"a", "f"}, 5, 1, 0, 0.5, id="half inside"),
        pytest.param({"a", "f"}, 6, 1, 1, 1, id="both inside"),
        pytest.param({"x"}, 6, 0, 0, 0, id="never returned"),
        pytest.param({"a", "b", "x", "y"}, 2, 1, 0, 0.5, id="more evidence than places"),
        pytest.param({"a"}, 100, 1, 1, 1, id="fewer returned than asked for"),
    ],
)
def test_any_all_and_recall_count_evidence_in_the_first_places(
    evidence, cutoff, any_, all_, recall
):
    assert metrics.any_at(RANKING, evidence, cutoff) == any_
    assert metrics.all_at(RANKING, evidence, cutoff) == all_
    assert metrics.recall_at(RANKING, evidence, cutoff) == recall


@pytest.mark.parametrize(("evidence", "expected"), [({"a"}, 1), ({"d", "c"}, 1 / 3), ({"x"}, 0)])
def test_reciprocal_rank_is_that_of_the_first_evidence(evidence, expected) -> None:
    assert metrics.reciprocal_rank(RANKING, evidence) == expected


def test_ndcg_discounts_by_place_and_divides_by_the_best_order() -> None:
    # Evidence on places 2 and 4: 1/log2(3) + 1/log2(5), against 1/log2(2) + 1/log2(3).
    expected = (0.6309297535714575 + 0.43067655807339306) / (1 + 0.6309297535714575)

    assert metrics.ndcg_at(RANKING, {"b", "d"}, 10) == pytest.approx(expected)
    assert metrics.ndcg_at(RANKING, {"a", "b"}, 10) == 1
    assert metrics.ndcg_at(RANKING, {"x"}, 10) == 0


def test_ndcg_is_perfect_when_more_evidence_exists_than_places_count() -> None:
    assert metrics.ndcg_at(("a", "b"), {"a", "b", "c"}, 2) == 1


@pytest.mark.parametrize(
    ("tokens", "budget", "expected"),
    [
        ((10, 10, 10), 30, 3),
        ((10, 10, 10), 29.9, 2),
        ((40, 1, 1), 30, 0),
        ((), 30, 0),
        ((10, 30, 5), 20, 1),
    ],
    ids=[
        "exactly full",
        "a hair too small",
        "the first is too long",
        "nothing",
        "no skipping ahead",
    ],
)
def test_a_budget_holds_the_first_memories_until_one_does_not_fit(tokens, budget, expected) -> None:
    assert metrics.fitting(tokens, budget) == expected


def test_a_memory_costs_a_quarter_of_its_characters_and_six() -> None:
    assert metrics.memory_tokens("x" * 100) == 31
    assert metrics.memory_tokens("") == 6


def test_budget_scores_see_only_what_fits() -> None:
    late = Answered(
        scope="s",
        category="c",
        evidence=frozenset({"b"}),
        ranking=("a", "b"),
        tokens=(900.0, 200.0),
    )

    scores = metrics.budget_scores([late])

    assert (scores["any@1000"], scores["any@2000"], scores["any@4000"]) == (0, 1, 1)


def test_sessions_are_ranked_by_their_best_turn() -> None:
    session_of = {("s", turn): session for turn, session in zip("abcd", "1121", strict=True)}
    answer = Answered(
        scope="s",
        category="c",
        evidence=frozenset({"a", "b", "c"}),
        ranking=("c", "d", "a"),
        tokens=(1, 1, 1),
    )

    assert metrics.session_pairs([answer], session_of) == [(("2", "1"), frozenset({"1", "2"}))]


def test_percentiles_take_the_nearest_rank() -> None:
    values = [40, 10, 30, 20]

    assert [metrics.percentile(values, share) for share in (0, 0.25, 0.5, 0.75, 0.95, 1)] == [
        10, 10, 20, 30, 40, 40,
    ]  # fmt: skip
    assert metrics.median([7]) == 7


def test_an_empty_mean_is_no_number() -> None:
    assert math.isnan(metrics.mean([]))


rankings = st.lists(st.sampled_from("abcdefghij"), unique=True)
evidences = st.sets(st.sampled_from("abcdefghijxyz"), min_size=1)


@given(rankings, evidences, st.integers(1, 12))
def test_all_implies_recall_implies_any(ranking, evidence, cutoff) -> None:
    every, share, some = (
        score(ranking, evidence, cutoff)
        for score in (metrics.all_at, metrics.recall_at, metrics.any_at)
    )

    assert 0 <= every <= share <= some <= 1
    assert (share == 1) == (every == 1)
    assert (share > 0) == (some == 1)


@given(rankings, evidences, st.integers(1, 12), st.integers(0, 5))
def test_more_places_never_find_less(ranking, evidence, cutoff, more) -> None:
    for score in (metrics.any_at, metrics.all_at, metrics.recall_at):
        assert score(ranking, evidence, cutoff) <= score(ranking, evidence, cutoff + more)


@given(rankings, evidences)
def test_moving_evidence_to_the_front_never_lowers_a_score(ranking, evidence) -> None:
    better = sorted(ranking, key=lambda item: item not in evidence)

    assert metrics.ndcg_at(ranking, evidence, 10) <= metrics.ndcg_at(better, evidence, 10) + 1e-12
    assert metrics.reciprocal_rank(ranking, evidence) <= metrics.reciprocal_rank(better, evidence)
    assert 0 <= metrics.ndcg_at(better, evidence, 10) <= 1 + 1e-12


@given(st.lists(st.floats(1, 500)), st.floats(0, 5000), st.floats(0, 1000))
def test_a_larger_budget_never_holds_less(tokens, budget, more) -> None:
    held = metrics.fitting(tokens, budget)

    assert sum(tokens[:held]) <= budget
    assert held <= metrics.fitting(tokens, budget + more)


@given(st.lists(st.sampled_from("abc")))
def test_distinct_keeps_first_places(items) -> None:
    kept = metrics.distinct(items)

    assert len(set(kept)) == len(kept)
    assert set(kept) == set(items)
    assert list(kept) == sorted(kept, key=items.index)


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1, max_size=6),
    st.integers(0, 9),
)
def test_an_interval_is_ordered_repeatable_and_inside_the_values(groups, seed) -> None:
    low, high = metrics.bootstrap_interval(groups, random.Random(seed))
    values = [value for group in groups for value in group]

    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert (low, high) == metrics.bootstrap_interval(groups, random.Random(seed))


def test_the_interval_of_one_conversation_is_its_mean() -> None:
    low, high = metrics.bootstrap_interval([[0, 1, 1, 1]], random.Random(1))

    assert (low, high) == (0.75, 0.75)
