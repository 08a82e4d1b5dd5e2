"""Ranking: what holds for all evidence together, whatever the candidates."""

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.phrases import PREFERENCE, STANDING, TIMED
from mcp_server.recall import (
    RESERVED,
    STEPS,
    Candidates,
    Question,
    Ranked,
    Weights,
    evidence,
    newer_first,
    relevance,
    score,
    with_reserved,
)
from mcp_server.when import Named, Span
from tests.pools import ASSISTANT, DAY, DAY_MS, WEIGHTS, candidates, reasons

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
    dates=st.lists(
        st.booleans().map(
            lambda relative: Named(
                Span(DAY, datetime(2023, 5, 9, tzinfo=UTC)), "", relative=relative
            )
        ),
        max_size=1,
    ).map(tuple),
    speaker=st.none() | st.integers(0, 2),
    of_assistant=st.booleans(),
    asks_when=st.booleans(),
    names_somebody=st.booleans(),
    telling=st.booleans(),
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
    assert ranked.scores.tolist() == sorted(ranked.scores.tolist(), reverse=True)
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
    places = with_reserved(np.array(cues, np.uint8), STANDING | PREFERENCE).tolist()
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


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=4))))  # fmt: skip
def test_what_replaces_another_comes_before_it_and_nothing_is_lost(
    drawn: tuple[int, list[tuple[int, int]]],
) -> None:
    number, pairs = drawn
    updates = [(older, newer) for older, newer in pairs if older != newer][:1]
    rows = np.arange(number, dtype=np.int64)
    scores = np.linspace(1, 0, number, dtype=np.float32)
    ranked = newer_first(Ranked(rows, scores, {"words": scores}), updates)
    order = ranked.rows.tolist()
    assert sorted(order) == rows.tolist()
    assert np.array_equal(ranked.scores, scores)
    assert ranked.evidence["words"].tolist() == scores[ranked.rows].tolist()
    for older, newer in updates:
        assert order.index(newer) < order.index(older)
    others = [row for row in order if row not in {row for pair in updates for row in pair}]
    assert others == sorted(others)
