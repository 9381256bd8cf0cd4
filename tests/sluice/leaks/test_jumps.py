"""A challenger that is implausibly better than the champion gives a warning."""

from __future__ import annotations

import pytest

from sluice.leaks.jumps import MeasuredAuc, judge_jump
from sluice.verdicts import Interval


def measure(auc: float, half: float = 0.01) -> MeasuredAuc:
    return MeasuredAuc(auc, Interval(auc - half, min(auc + half, 1.0), 0.95, "logit-DeLong"))


@pytest.mark.parametrize(
    ("champion", "challenger", "implausible"),
    [
        (0.50, 1.00, True),
        (0.84, 0.96, True),
        (0.84, 0.94, False),
        (0.737, 0.877, False),
        (0.84, 0.80, False),
        (0.98, 0.985, False),
    ],
)
def test_a_jump_is_implausible_if_less_than_a_third_of_the_distance_is_left(
    champion: float, challenger: float, implausible: bool
) -> None:
    warning = judge_jump(measure(champion), measure(challenger))
    assert (warning is not None) == implausible


def test_the_warning_has_the_numbers() -> None:
    warning = judge_jump(measure(0.84), measure(0.97))
    assert warning
    assert (
        "the challenger's AUC on the test rows is 0.970 (95 % interval 0.960 to 0.980) and the champion's is 0.840"
        in warning.text
    )
    assert warning.hint


def test_wide_intervals_give_no_warning() -> None:
    assert judge_jump(measure(0.84, 0.15), measure(0.97, 0.03)) is None
