"""When figures count as worse, and what may be recorded. The measuring itself is tried by tests/recall."""

import random

import pytest

from bench import regression
from bench.dataset import Dataset, Doc, Query, Scope
from bench.metrics import Answered
from bench.regression import Figures, Recorded
from shared.errors import ConflictError, NotFoundError


def figures(any_at_10, pronouns=0.5, questions=None):
    return Figures(
        questions or {"pronoun": 40, "words": 160},
        {"any@10": any_at_10},
        {"pronoun": {"any@10": pronouns}, "words": {"any@10": 0.9}},
    )


def before(**given):
    return Recorded("abc", "2026-11-21", "of", figures(0.8, **given))


def dataset(turns=3, scopes=1, name="made"):
    return Dataset(
        name,
        [
            Scope(
                f"s{number}",
                [
                    Doc(f"t{turn}", "one", turn, "Ann", "2025-01-06T09:00:00", "…")
                    for turn in range(turns)
                ],
                [Query("q", "?", "words", ["t0"])],
            )
            for number in range(scopes)
        ],
    )


@pytest.mark.parametrize(
    ("now", "holds"),
    [(0.9, True), (0.8, True), (0.79, True), (0.7898, False), (0.5, False)],
    ids=["better", "the same", "a point less", "more than a point less", "much less"],
)
def test_a_figure_may_fall_by_one_point(now, holds) -> None:
    bars = regression.bars_of("made", before(), figures(now))

    assert [(bar.name, bar.holds) for bar in bars] == [("made: any@10", holds)]


def test_of_few_questions_a_single_one_is_no_verdict() -> None:
    few = {"pronoun": 10, "words": 10}

    one, two = (
        regression.bars_of("made", before(questions=few), figures(now, questions=few))[0].holds
        for now in (0.75, 0.7)
    )

    assert (one, two) == (True, False)


def test_what_one_category_lost_is_seen_although_another_won() -> None:
    bars = regression.bars_of("made", before(), figures(0.82, pronouns=0.35))

    assert [bar.name for bar in bars if not bar.holds] == ["made pronoun: any@10"]


def test_a_change_is_told_by_figure_and_category() -> None:
    told = regression.changes(figures(0.8), figures(0.7512, pronouns=0.625))

    assert told == ["any@10 of all: 80.0 → 75.1 (-4.9)", "any@10 of pronoun: 50.0 → 62.5 (+12.5)"]


def test_a_loss_is_recorded_only_where_it_is_accepted(tmp_path) -> None:
    file = tmp_path / "figures.json"
    regression.record(file, dataset(), figures(0.8), accept_loss=False)

    with pytest.raises(ConflictError, match=r"any@10 of made fell since .*--accept-loss"):
        regression.record(file, dataset(), figures(0.79), accept_loss=False)
    assert regression.recorded(file, dataset()).figures == figures(0.8)

    regression.record(file, dataset(), figures(0.79), accept_loss=True)
    assert regression.recorded(file, dataset()).figures == figures(0.79)


def test_other_questions_have_no_figures_until_they_are_recorded(tmp_path) -> None:
    file = tmp_path / "figures.json"
    regression.record(file, dataset(), figures(0.8), accept_loss=False)

    with pytest.raises(NotFoundError, match="record them"):
        regression.recorded(file, dataset(turns=4))

    regression.record(file, dataset(turns=4), figures(0.2), accept_loss=False)
    assert regression.recorded(file, dataset(turns=4)).figures == figures(0.2)


def test_recording_one_data_set_leaves_the_others(tmp_path) -> None:
    file = tmp_path / "figures.json"
    for name in ("one", "other"):
        regression.record(file, dataset(name=name), figures(0.8), accept_loss=False)

    assert regression.recorded(file, dataset(name="one")).figures == figures(0.8)


def test_a_part_is_whole_scopes_and_the_same_for_the_same_seed() -> None:
    whole = dataset(turns=300, scopes=9)

    part = regression.part(whole, random.Random(7))

    assert len(part.scopes) == 3
    assert all(scope in whole.scopes for scope in part.scopes)
    assert part == regression.part(whole, random.Random(7))


def test_figures_are_means_of_all_questions_and_of_each_category() -> None:
    found = Answered(
        scope="s", category="words", evidence=frozenset({"t1"}), ranking=("t0", "t1"), tokens=(10.0, 295.0),
    )  # fmt: skip
    missed = Answered(
        scope="s", category="who", evidence=frozenset({"t9"}), ranking=("t0",), tokens=(10.0,)
    )

    assert regression.figures_of([found, missed]) == Figures(
        {"who": 1, "words": 1},
        {"any@10": 0.5, "mrr": 0.25, "any@300": 0.0, "any@2000": 0.5},
        {
            "who": {"any@10": 0.0, "mrr": 0.0, "any@300": 0.0, "any@2000": 0.0},
            "words": {"any@10": 1.0, "mrr": 0.5, "any@300": 0.0, "any@2000": 1.0},
        },
    )
