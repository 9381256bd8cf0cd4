"""How the model behaves when its input changes: what must not matter, what must push one way, and what must stay.

The tests follow "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList" (Ribeiro et al., ACL 2020): invariance tests,
directional expectation tests, and minimum functionality tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from sluice.checks.announcements import announced
from sluice.checks.judgements.changes import change_rows
from sluice.checks.judgements.metrics import describe_not_finite
from sluice.checks.judgements.readings import LEAST_ROWS, predict_probability, read_level, read_limit
from sluice.checks.judgements.shares import judge_share
from sluice.checks.verdict_text import format_number, join_parts
from sluice.errors import DataError
from sluice.statistics.proportions import clopper_pearson_interval
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.checks.judgements.changes import Change, Contract
    from sluice.statistics.samples import Floats

_MOST_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Example:
    """A row for which the answer is known well enough to bound it.

    Attributes:
        row: Column → value. A column that is left out is missing.
        low: The smallest probability that is right.
        high: The largest probability that is right.
    """

    row: Mapping[str, object]
    low: float = 0.0
    high: float = 1.0


@announced
def judge_invariance(  # noqa: PLR0913 - five of them are keywords
    check: str,
    model: Any,  # noqa: ANN401 - scikit-learn is untyped
    rows: pd.DataFrame,
    change: Change,
    *,
    threshold: float = 0.9,
    tolerance: float = 0.0,
    within: Contract | None = None,
    level: float = 0.95,
    least_rows: int = LEAST_ROWS,
) -> Verdict:
    """Check that a change which must not matter leaves the probability as it is.

    The verdict is about the share of rows whose probability moves by at most `tolerance`, with its Wilson interval. Rows that the
    change does not alter are left out.

    Args:
        check: Name of the verdict.
        model: A fitted classifier.
        rows: The features, for example ``holdout.features``.
        change: Column → new value or function of the old values, or a function from rows to changed rows.
        threshold: The share of rows must be greater than this. In [0, 1).
        tolerance: How much a probability may move.
        within: Function from rows to a boolean for each row: whether the row can occur. Other rows are left out.
        level: Coverage of the two-sided interval.
        least_rows: With fewer rows, the verdict is inconclusive.

    Raises:
        DataError: The change alters no row or returns other columns, or the model does not return probabilities.
    """
    tolerance = read_limit(check, tolerance, "tolerance")
    changed = change_rows(check, rows, change, within=within)
    before, after = _predict(model, changed.before), _predict(model, changed.after)
    if fault := _find_fault(check, before, after):
        return fault
    moves = np.abs(after - before)
    largest = f"the largest move is {format_number(float(moves.max()))}" if moves.size else ""
    hits = int((moves <= tolerance).sum())
    detail = join_parts(largest, changed.describe())
    return judge_share(check, hits, len(moves), threshold=threshold, level=level, least_rows=least_rows, detail=detail)


@announced
def judge_direction(  # noqa: PLR0913 - five of them are keywords
    check: str,
    model: Any,  # noqa: ANN401 - scikit-learn is untyped
    rows: pd.DataFrame,
    change: Change,
    *,
    expect: Literal["lower", "higher"],
    threshold: float = 0.9,
    within: Contract | None = None,
    level: float = 0.95,
    least_rows: int = LEAST_ROWS,
) -> Verdict:
    """Check that a change moves the probability in the direction in which it must.

    The verdict is about the share of rows whose probability becomes lower or higher, with its Wilson interval. Rows that the
    change does not alter are left out. Rows whose probability stays the same are ties: they count as misses, and the detail
    reports them.

    Args:
        check: Name of the verdict.
        model: A fitted classifier.
        rows: The features, for example ``holdout.features``.
        change: Column → new value or function of the old values, or a function from rows to changed rows.
        expect: What the change must make of the probability.
        threshold: The share of rows must be greater than this. In [0, 1).
        within: Function from rows to a boolean for each row: whether the row can occur. Other rows are left out.
        level: Coverage of the two-sided interval.
        least_rows: With fewer rows, the verdict is inconclusive.

    Raises:
        DataError: `expect` is neither "lower" nor "higher", the change alters no row or returns other columns, or the model does
            not return probabilities.
    """
    if expect not in {"lower", "higher"}:
        raise DataError(
            f'{check}: expect must be "lower" or "higher", not {expect!r}', hint="Say where the probability must move."
        )
    changed = change_rows(check, rows, change, within=within)
    before, after = _predict(model, changed.before), _predict(model, changed.after)
    if fault := _find_fault(check, before, after):
        return fault
    hits = int((after < before).sum()) if expect == "lower" else int((after > before).sum())
    ties = int((after == before).sum())
    return judge_share(
        check, hits, len(before), threshold=threshold, ties=ties, level=level, least_rows=least_rows, detail=changed.describe()
    )


@announced
def judge_examples(
    check: str,
    model: Any,  # noqa: ANN401 - scikit-learn is untyped
    like: pd.DataFrame,
    examples: Mapping[str, Example],
    *,
    level: float = 0.95,
) -> Verdict:
    """Check that the model answers named rows as everybody who knows the field would: a minimum functionality test.

    All examples must be answered within their bounds. The interval is that of Clopper and Pearson. It says how little a few
    examples prove about all rows of their kind, and does not decide.

    Args:
        check: Name of the verdict.
        model: A fitted classifier.
        like: Rows with the columns and types that the model takes, for example ``holdout.features``.
        examples: Name of an example → its row and the bounds of its probability.
        level: Coverage of the two-sided interval.

    Raises:
        DataError: There is no example, one has a column that the model does not take or bounds without a probability between
            them, or the model does not return probabilities.
    """
    level = read_level(check, level)
    if not examples:
        raise DataError(f"{check}: there is no example", hint="Name at least one row for which you know the answer.")
    for name, example in examples.items():
        _check_example(f"{check}, {name}", example, like)
    values = pd.DataFrame([dict(example.row) for example in examples.values()], columns=list(like.columns), dtype=object)
    scores = predict_probability(model, _cast(check, values, like))
    wrong = [
        f"{name}: {format_number(float(score))} is not in {format_number(example.low)} to {format_number(example.high)}"
        for (name, example), score in zip(examples.items(), scores, strict=True)
        if not example.low <= score <= example.high
    ]
    right = len(examples) - len(wrong)
    more = f" and {len(wrong) - _MOST_EXAMPLES} more" if len(wrong) > _MOST_EXAMPLES else ""
    return Verdict(
        check=check,
        outcome=Outcome.FAIL if wrong else Outcome.PASS,
        observed=right / len(examples),
        interval=clopper_pearson_interval(right, len(examples), level=level),
        threshold=1.0,
        comparison=">=",
        rows=len(examples),
        detail="; ".join(wrong[:_MOST_EXAMPLES]) + more or "every example is answered within its bounds",
    )


@announced
def judge_stability(
    check: str,
    model: Any,  # noqa: ANN401 - scikit-learn is untyped
    champion: Any,  # noqa: ANN401 - scikit-learn is untyped
    rows: pd.DataFrame,
    *,
    tolerance: float = 0.1,
    threshold: float = 0.9,
    level: float = 0.95,
    least_rows: int = LEAST_ROWS,
) -> Verdict:
    """Check that the model answers most rows about as the champion does, so that a release does not surprise its users.

    The verdict is about the share of rows whose probabilities differ by at most `tolerance`, with its Wilson interval.

    Args:
        check: Name of the verdict.
        model: A fitted classifier.
        champion: The champion's model, as the fixture ``champion`` returns it. Without a champion (None) the check passes and is
            unproven, because there is nothing that the model could differ from. If it cannot predict these rows, for example
            because a feature was removed, the check is inconclusive.
        rows: The features, for example ``holdout.features``.
        tolerance: How much the probability of a row may differ. In [0, 1].
        threshold: The share of rows must be greater than this. In [0, 1).
        level: Coverage of the two-sided interval.
        least_rows: With fewer rows, the verdict is inconclusive.

    Raises:
        DataError: The model does not return probabilities.
    """
    tolerance, threshold = read_limit(check, tolerance, "tolerance"), read_limit(check, threshold)
    if champion is None:
        why = "there is no champion yet, so there is nothing to compare with"
        return Verdict(check=check, outcome=Outcome.PASS, threshold=threshold, comparison=">", unproven=True, detail=why)
    try:
        before = _predict(champion, rows)
    except DataError as error:
        why = f"the champion cannot predict these rows, so nothing can be compared: {error.message}"
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, threshold=threshold, comparison=">", detail=why)
    after = _predict(model, rows)
    if fault := _find_fault(check, before, after):
        return fault
    moves = np.abs(after - before)
    detail = f"the mean difference is {format_number(float(moves.mean()))}" if moves.size else ""
    hits = int((moves <= tolerance).sum())
    return judge_share(check, hits, len(moves), threshold=threshold, level=level, least_rows=least_rows, detail=detail)


def _predict(model: Any, rows: pd.DataFrame) -> Floats:  # noqa: ANN401 - scikit-learn is untyped
    """Return the probabilities. No rows have none, and models refuse to be asked for none."""
    return predict_probability(model, rows) if len(rows) else np.empty(0)


def _find_fault(check: str, *scores: Floats) -> Verdict | None:
    """Return a failed verdict if a model answers with NaN or an infinity; None if it does not."""
    fault = next((text for text in map(describe_not_finite, scores) if text), "")
    return Verdict(check=check, outcome=Outcome.FAIL, rows=scores[0].size, detail=fault) if fault else None


def _check_example(what: str, example: Example, like: pd.DataFrame) -> None:
    if not isinstance(example, Example):
        raise DataError(
            f"{what}: an example must be an Example, not {type(example).__name__}",
            hint='Write it as Example({"column": value}, high=0.2).',
        )
    low, high = read_limit(what, example.low, "low"), read_limit(what, example.high, "high")
    unknown = [column for column in example.row if column not in like.columns]
    if unknown:
        raise DataError(
            f"{what}: the model takes no column {', '.join(map(repr, unknown))}",
            hint=f"The columns are {', '.join(map(str, like.columns))}.",
        )
    if low > high or (low, high) == (0.0, 1.0):
        raise DataError(
            f"{what}: no answer from {low:g} to {high:g} can be told from a wrong one"
            if low <= high
            else f"{what}: low is above high",
            hint="Give the smallest and the largest probability that is right.",
        )


def _cast(check: str, values: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Return the values with the types that the model was trained with.

    Raises:
        DataError: The values of a column do not have its type.
    """
    cast = {}
    for column, kind in like.dtypes.items():
        try:
            cast[column] = values[column].astype(kind)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{check}: the values of {column!r} cannot be read as {kind}: {error}", hint="Correct the values of the examples."
            ) from error
    return pd.DataFrame(cast, columns=list(like.columns))
