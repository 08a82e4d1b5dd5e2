"""The split that weights were fitted on, and that fitting finds what made the answers."""

import pytest

from bench.fit import PRIOR, cross_validated, fit, folds_of
from mcp_server.recall import Weights
from shared.errors import UnavailableError
from tests.bench.cases import case


def test_a_fold_is_the_number_of_the_conversation_in_its_file_modulo_five() -> None:
    scopes = ["g", "g", "b", "c", "d", "e", "a", "a", "f"]
    assert folds_of(scopes) == [0, 0, 1, 2, 3, 4, 0, 0, 1]


def test_what_is_fitted_is_weights_that_ship() -> None:
    assert set(PRIOR) == set(Weights.__struct_fields__) - {
        "recent",
        "importance",
        "pinned",
        "asked_of_then",
    }


def told_by(name, scope="one"):
    return case({name: [0, 1, 0], "words": [1, 0, 0]}, [1], scope=scope)


def test_fitting_raises_what_points_to_the_answers_and_lowers_what_points_away() -> None:
    found = fit([told_by("answers")] * 20)

    assert found.answers > PRIOR["answers"]
    assert found.words < PRIOR["words"]
    assert found.date == pytest.approx(PRIOR["date"])
    assert (found.recent, found.pinned) == (Weights().recent, Weights().pinned)


def test_a_conversation_never_helps_to_fit_the_weights_it_is_measured_with() -> None:
    plain = [told_by("around", scope=str(number)) for number in range(5)]
    odd = [*plain[:4], told_by("names_a_time", scope="4")]

    one, two = cross_validated({"x": plain})["x"], cross_validated({"x": odd})["x"]

    assert one[4] == two[4]
    assert all(before != after for before, after in zip(one[:4], two[:4], strict=True))


def test_nothing_to_learn_from_is_said() -> None:
    with pytest.raises(UnavailableError, match="too few"):
        fit([case({"words": [1.0]}, [], eligible=[False])])
