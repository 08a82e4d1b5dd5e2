"""What a run adds up to: who is in the headline, who stands beside it, which bars belong to which data."""

import math
import random

from bench.dataset import Dataset, Doc, Scope
from bench.metrics import Answered
from bench.recall_figures import Asked, bars_of, figures_of


def dataset(name="locomo_x", scopes=("one", "two")):
    docs = [
        Doc(id=f"d{n}", session=f"s{n // 2}", idx=n, who="Ada", ts="2024-01-01T10:00:00", text="…")
        for n in range(6)
    ]
    return Dataset(name, [Scope(scope, docs, []) for scope in scopes])


def asked(
    category, evidence, ranking, *, scope="one", audited=None, milliseconds=10.0, irrelevant=False
):
    answered = Answered(
        scope=scope,
        category=category,
        evidence=frozenset(evidence),
        ranking=tuple(ranking),
        tokens=(100.0,) * len(ranking),
    )
    return Asked(answered, answered, audited and frozenset(audited), milliseconds, irrelevant)


def figures(*questions, data=None):
    return figures_of(data or dataset(), questions, random.Random(1))


def test_adversarial_and_unanswerable_questions_stand_beside_the_headline() -> None:
    told = figures(
        asked("temporal", ["d1"], ["d1"]),
        asked("adversarial", ["d1"], ["d5"]),
        asked("abstention", [], ["d5", "d4"]),
    )

    assert told["questions"] == 1
    assert told["turn"]["any@5"] == 1
    assert told["by_category"]["adversarial"]["turn"]["any@5"] == 0
    assert told["by_category"]["temporal"]["questions"] == 1
    assert told["without_evidence"] == {"questions": 1, "called_irrelevant": 0, "tokens": 200}
    assert "abstention" not in told["by_category"]


def test_questions_called_irrelevant_are_counted_by_whether_they_have_an_answer() -> None:
    told = figures(
        asked("a", ["d1"], ["d1"], irrelevant=True),
        asked("a", ["d1"], ["d1"]),
        asked("abstention", [], [], irrelevant=True),
    )

    assert told["called_irrelevant"] == 0.5
    assert told["without_evidence"]["called_irrelevant"] == 1


def test_audited_evidence_is_scored_apart_from_the_published_one() -> None:
    told = figures(asked("temporal", ["d1"], ["d2"], audited=["d2"]))

    assert told["turn"]["any@5"] == 0
    assert told["audited"]["turn"]["any@5"] == 1


def test_intervals_need_more_than_one_conversation() -> None:
    both = figures(asked("a", ["d1"], ["d1"]), asked("a", ["d1"], ["d2"], scope="two"))

    assert figures(asked("a", ["d1"], ["d1"]))["interval_95"] == {}
    assert both["interval_95"]["turn.any@10"] == [0, 1]


def test_times_of_all_questions_count_also_of_those_beside_the_headline() -> None:
    told = figures(
        asked("a", ["d1"], ["d1"], milliseconds=5.0),
        asked("abstention", [], [], milliseconds=50.0),
    )

    assert (told["ms_p50"], told["ms_p95"]) == (5, 50)


def test_a_data_set_is_held_to_the_bars_of_its_family() -> None:
    found = figures(asked("temporal", ["d1"], ["d1"]))
    facts = figures(asked("knowledge_update", ["d1"], ["d1"]))

    assert {bar.name for bar in bars_of("locomo_b", found)} == {
        "locomo_b: budget any@2000",
        "locomo_b: turn any@10",
        "locomo_b: session any@5",
        "locomo_b: session all@5",
    }
    assert [bar.name for bar in bars_of("beam500k", facts)] == ["beam500k: facts any@2000"]
    assert bars_of("somebody_elses", found) == []
    assert all(bar.holds for bar in bars_of("locomo_b", found))


def test_nothing_asked_with_evidence_is_no_number_and_holds_no_bar() -> None:
    told = figures(asked("abstention", [], []))

    assert math.isnan(told["turn"]["any@10"])
    assert not any(bar.holds for bar in bars_of("locomo_b", told))
