"""The step of the model tests warns of a challenger that is implausibly better than the champion on the test rows."""

from __future__ import annotations

import numpy as np

from sluice.steps.curves import curves, warn_of_jump


def measure(strength: float) -> dict[str, object]:
    generator = np.random.default_rng(1)
    labels = (generator.random(2000) < 0.3).astype(np.int8)
    scores = 1 / (1 + np.exp(-generator.normal(size=2000) - strength * labels))
    return curves(labels, scores)


def test_the_first_champion_and_a_plausible_challenger_give_no_warning() -> None:
    assert warn_of_jump(None, measure(6)) == []
    assert warn_of_jump(measure(1), measure(1.3)) == []


def test_a_nearly_perfect_challenger_gives_a_warning() -> None:
    [warning] = warn_of_jump(measure(1), measure(6))
    assert warning.kind == "implausible-jump"
    assert "the champion's is 0.7" in warning.text
