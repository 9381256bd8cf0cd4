"""Adjusted p-values against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.statistics.multiplicity import benjamini_hochberg, holm

p_values = st.lists(st.floats(0, 1), max_size=12)


@given(p_values, st.floats(0.001, 0.5))
def test_holm_rejects_the_same_tests_as_its_step_procedure(values: list[float], alpha: float) -> None:
    rejected = set()
    for step, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        if values[index] * (len(values) - step) > alpha:
            break
        rejected.add(index)
    adjusted = holm(values)
    assert {index for index, value in enumerate(adjusted) if value <= alpha} == rejected


@given(p_values, st.floats(0.001, 0.5))
def test_benjamini_hochberg_rejects_up_to_its_largest_step(values: list[float], alpha: float) -> None:
    order = sorted(range(len(values)), key=values.__getitem__)
    # The comparison is written as in the paper, p m / k <= alpha, with the arithmetic of the adjusted values.
    last = max((k for k, index in enumerate(order, 1) if values[index] * (len(values) / k) <= alpha), default=0)
    largest = values[order[last - 1]] if last else -1
    adjusted = benjamini_hochberg(values)
    assert [value <= alpha * (1 + 1e-12) for value in adjusted] == [value <= largest * (1 + 1e-12) for value in values]


@given(p_values)
def test_holm_is_stricter_and_neither_method_lowers_a_value(values: list[float]) -> None:
    strict, lenient = holm(values), benjamini_hochberg(values)
    assert np.all(lenient >= np.asarray(values) - 1e-12)
    assert np.all(strict >= lenient - 1e-12)
    assert np.all(strict <= 1)
    assert np.all(lenient <= 1)


def test_known_values_are_reproduced() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.02, 0.04, 0.04, 0.02])


@pytest.mark.parametrize("values", [[0.1, 1.1], [-0.1], [math.nan], [[0.1]]])
def test_numbers_that_are_not_p_values_are_an_error(values: list[float]) -> None:
    for adjust in (holm, benjamini_hochberg):
        with pytest.raises(ValueError, match="p-values must be"):
            adjust(values)
