"""The arithmetic of growth; what is measured is measured by running it."""

import math

import pytest

from bench.scale import growth_exponent


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_the_exponent_of_a_power_is_its_exponent(exponent: float) -> None:
    sizes = [1_000, 10_000, 100_000]
    assert growth_exponent(sizes, [3 * size**exponent for size in sizes]) == pytest.approx(exponent)


def test_one_size_has_no_growth() -> None:
    assert math.isnan(growth_exponent([1_000], [5.0]))
