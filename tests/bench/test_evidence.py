"""From inside the ranking: the bench must order as the product does, and its figures must mean what they say."""

import numpy as np
import pytest
from msgspec.structs import replace

from bench.evidence import figures, means, order
from mcp_server import recall, search
from mcp_server.phrases import STANDING
from mcp_server.recall import Weights
from tests.bench.cases import case
from tests.builders import draft, opened, tell


def test_the_best_by_weighed_evidence_comes_first_and_what_may_not_be_returned_never() -> None:
    one = case(
        {"words": [1, 0, 1, 1], "meaning": [0, 1, 1, 1]}, [0], eligible=[True, True, True, False]
    )

    assert order(one, Weights()).tolist() == [2, 1, 0]


def test_the_bench_orders_as_the_product_does(tmp_path) -> None:
    with opened(tmp_path) as device:
        tell(
            device, *(draft(f"the harbour at {n} o'clock", conversation="talk") for n in range(20))
        )
        tell(device, "Always answer in French.", "tea is green")
        asked = search.Asked(query="When is tea at the harbour?")
        with device.vault.reading() as db:
            question = search.understood(device, asked)
            found = search.candidates(device, db, asked, question)
        ranked = recall.score(question, found, search.ASSISTANT, Weights())
        told = recall.evidence(question, found, search.ASSISTANT)

    one = replace(case({name: list(values) for name, values in told.items()}, [0]), found=found)

    assert found.rows[order(one, Weights())].tolist() == ranked.rows.tolist()


def test_reserved_places_can_be_left_out() -> None:
    flags = [0] * 14 + [STANDING]
    one = case({"words": [1 - place / 20 for place in range(15)]}, [14], flags=flags)

    assert order(one, Weights()).tolist()[10] == 14
    assert order(one, Weights(), reserved=False).tolist() == list(range(15))


def test_figures_of_a_ranking_are_those_worked_out_by_hand() -> None:
    one = case({"words": [0] * 12}, [1, 11], sessions=[0] * 10 + [1, 2])

    assert figures(one, np.arange(12)) == pytest.approx(
        {
            "turn.any@10": 1,
            "turn.recall@10": 0.5,
            "turn.mrr": 0.5,
            "turn.ndcg@10": 0.6309297535714575 / (1 + 0.6309297535714575),
            "session.any@5": 1,
            "session.all@5": 1,
            "budget.any@2000": 1,
        }
    )


def test_a_budget_pays_for_what_is_shown_of_long_memories() -> None:
    # Three at length and the others in short: (700 / 4 + 6) * 3 + (300 / 4 + 6) * n.
    late = case({"words": [0] * 30}, [20], chars=[5_000] * 30)
    early = case({"words": [0] * 30}, [19], chars=[5_000] * 30)

    assert figures(early, np.arange(30))["budget.any@2000"] == 1
    assert figures(late, np.arange(30))["budget.any@2000"] == 0


def test_evidence_that_was_never_considered_is_missed() -> None:
    missing = replace(case({"words": [1]}, []), gold=frozenset({1}), gold_sessions=frozenset({9}))

    assert set(figures(missing, np.arange(1)).values()) == {0}


def test_means_are_taken_figure_by_figure() -> None:
    assert means([{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.0}]) == {"a": 0.5, "b": 0.0}
