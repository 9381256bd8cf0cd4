"""The intervals that the judgements show contain the truth as often as they say, from 50 rows on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from sluice.checks.judgements import judge_auc, judge_share


@pytest.mark.slow
@pytest.mark.parametrize("rows", [50, 100, 500])
@pytest.mark.parametrize("truth", [0.70, 0.80, 0.90])
def test_the_interval_of_an_auc_covers_the_truth(rows: int, truth: float) -> None:
    """With 30 % positives, and with normal scores whose shift gives this AUC."""
    random = np.random.default_rng(rows + round(100 * truth))
    labels = np.arange(rows) < 0.3 * rows
    shift = np.sqrt(2) * norm.ppf(truth)
    trials = 3000
    covered = 0
    for _ in range(trials):
        interval = judge_auc("auc", labels, random.normal(size=rows) + shift * labels, threshold=0.5).interval
        covered += interval.low <= truth <= interval.high
    assert 0.93 <= covered / trials <= 0.97


@pytest.mark.parametrize("rows", [50, 100, 500])
def test_the_interval_of_a_share_covers_the_truth_on_average(rows: int) -> None:
    """Coverage is computed exactly, and averaged over the shares from 0.5 to 0.99. At single shares it differs a little."""
    intervals = [judge_share("share", hits, rows, threshold=0.5).interval for hits in range(rows + 1)]
    low, high = (np.array([getattr(interval, end) for interval in intervals]) for end in ("low", "high"))
    shares = np.linspace(0.5, 0.99, 99)
    coverage = [binom.pmf(np.arange(rows + 1), rows, share)[(low <= share) & (share <= high)].sum() for share in shares]
    assert 0.93 <= np.mean(coverage) <= 0.97
    assert np.min(coverage) > 0.9
