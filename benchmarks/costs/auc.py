"""Compute two AUCs, once with the paired DeLong comparison and once with scikit-learn: `python -m benchmarks.costs.auc own 9999`.

scikit-learn computes the two values. The paired DeLong comparison also computes the standard error of their difference.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
from rich.table import Table
from sklearn.metrics import roc_auc_score

from benchmarks.costs.processes import Comparison, add_comparison, call_module, compare_commands, measure_call
from sluice.statistics.auc import compare_auc

WAYS = ("paired DeLong, with the standard error", "roc_auc_score, twice")


def compare_costs(rows: int, *, rounds: int = 3) -> Comparison:
    """Measure both ways on the same rows."""
    return compare_commands(
        call_module("benchmarks.costs.auc", "own", str(rows)),
        call_module("benchmarks.costs.auc", "scikit-learn", str(rows)),
        rounds=rounds,
    )


def show_auc_costs(scale: float) -> Table:
    """Show CPU time and memory of the paired comparison, relative to two AUCs by scikit-learn."""
    table = Table("rows", "way", "CPU", "ratio", "MiB", title="Two AUCs on the same rows")
    for rows in (10_000, 100_000, round(1_000_000 * min(1.0, max(scale, 0.2)))):
        add_comparison(table, f"{rows:,}", WAYS, compare_costs(rows))
    return table


def _main(way: str, rows: int) -> None:
    rng = np.random.default_rng(4)
    labels = (rng.random(rows) < 0.2).astype(np.int8)  # noqa: PLR2004 - one positive in five
    a, b = (rng.normal(size=rows) + labels for _ in range(2))
    compare_auc(labels[:1000], a[:1000], b[:1000])  # the first call of either way imports and allocates
    roc_auc_score(labels[:1000], a[:1000])
    if way == "own":
        measure_call(partial(compare_auc, labels, a, b))
    else:
        measure_call(lambda: (roc_auc_score(labels, a), roc_auc_score(labels, b)))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
