"""Functions that turn a model's predictions into verdicts. The tests of a project's model layer call them.

Every observed quantity has an interval. If there are too few rows for a reliable answer, the verdict is inconclusive and says how
many rows are needed. Input that cannot be used is an error.

Belongs here: one function for each kind of model test, and the reading of what it takes. Does not belong here: the statistics
(`sluice.statistics`), and what a suite does with a verdict (`sluice.checks.suites`). Projects import the names from here.
"""

from sluice.checks.judgements.behaviour import Example, judge_direction, judge_examples, judge_invariance, judge_stability
from sluice.checks.judgements.calibration import judge_calibration
from sluice.checks.judgements.metrics import judge_auc
from sluice.checks.judgements.readings import LEAST_PER_CLASS, LEAST_ROWS, predict_probability
from sluice.checks.judgements.shares import judge_coverage, judge_share
from sluice.checks.judgements.slices import judge_slices

__all__ = [
    "LEAST_PER_CLASS",
    "LEAST_ROWS",
    "Example",
    "judge_auc",
    "judge_calibration",
    "judge_coverage",
    "judge_direction",
    "judge_examples",
    "judge_invariance",
    "judge_share",
    "judge_slices",
    "judge_stability",
    "predict_probability",
]
