"""Every piece of evidence is left out once, and differences are paired by question and drawn by conversation."""

import random

import pytest

from bench.ablation import SHIPPED, figures_of, variants
from mcp_server.recall import Weights
from shared.errors import UnavailableError
from tests.bench.cases import case


def test_each_piece_of_evidence_is_left_out_once_and_alone() -> None:
    left_out = {
        name: [field for field in Weights.__struct_fields__ if getattr(each.weights, field) == 0]
        for name, each in variants().items()
        if name.startswith("without ")
    }

    assert left_out == {f"without {name}": [name] for name in Weights.__struct_fields__}


def test_only_means_only() -> None:
    kept = {
        name: [field for field in Weights.__struct_fields__ if getattr(each.weights, field)]
        for name, each in variants().items()
        if name.startswith("only ")
    }

    assert kept == {
        "only words": ["words"],
        "only meaning": ["meaning"],
        "only words and meaning": ["words", "meaning"],
    }


def found_by(name, scope):
    """A question whose answer stands on place 11 if this piece of evidence is not seen."""
    return case({name: [0] * 10 + [1]}, [10], scope=scope)


def test_what_a_piece_of_evidence_brings_is_what_is_lost_without_it() -> None:
    told = figures_of(
        [found_by("date", "one"), found_by("date", "two"), found_by("words", "two")],
        random.Random(1),
    )

    assert told["questions"] == 3
    assert told["variants"][SHIPPED]["turn.any@10"] == 1
    assert told["variants"]["without date"]["turn.any@10"] == pytest.approx(1 / 3)
    assert told["differences"]["without date"]["turn.any@10"] == pytest.approx([-2 / 3, -1, -0.5])
    assert told["differences"]["without pinned"]["turn.any@10"] == [0, 0, 0]
    assert told["interval_95"]["turn.any@10"] == [1, 1]


def test_the_same_seed_draws_the_same_intervals() -> None:
    cases = [found_by("date", str(number)) for number in range(4)] + [found_by("answers", "5")]
    assert figures_of(cases, random.Random(3)) == figures_of(cases, random.Random(3))


def test_nothing_to_measure_with_is_said() -> None:
    with pytest.raises(UnavailableError, match="No question"):
        figures_of([], random.Random(1))
