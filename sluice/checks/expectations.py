"""Great Expectations as a source of verdicts: evaluate expectations on a data frame, without a GX project and without telemetry.

Importing Great Expectations 1.x takes 2.6 to 4.5 s. Only the call imports it, and only after its telemetry was switched off.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.checks.announcements import announced
from sluice.checks.verdict_text import format_number, join_parts
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from great_expectations.expectations import Expectation

DOCS_VARIABLE = "SLUICE_DATA_DOCS"
"""Environment variable with the folder for Data Docs if a call names none. A layer sets it for its suite."""

_TELEMETRY_VARIABLE = "GX_ANALYTICS_ENABLED"
_POSITION = "sluice_position"
_MOST_EXAMPLES = 3
_MOST_CHARACTERS = 120
_SUBJECTS = ("column", "column_A", "column_B", "column_list", "column_set")
_NO_PARAMETER = {"batch_id", "mostly", "result_format", "column", "column_A", "column_B", "column_list"}


def switch_telemetry_off() -> None:
    """Keep Great Expectations from reporting its use. This works only before Great Expectations is imported."""
    os.environ[_TELEMETRY_VARIABLE] = "false"


@announced
def run_expectations(
    frame: pd.DataFrame, expectations: Sequence[Expectation], *, name: str, docs: Path | None = None
) -> list[Verdict]:
    """Evaluate expectations on a data frame.

    Args:
        frame: The data. It is not changed.
        expectations: Instances from ``great_expectations.expectations``. If an expectation of severity "warning" or "info" is not
            met, its verdict is inconclusive and not failed, and it does not block production.
        name: Name of the suite, shown in the Data Docs.
        docs: Folder for the Data Docs (index.html). If None, they go to a folder named after the suite in $SLUICE_DATA_DOCS;
            without that variable, none are written.

    Returns:
        One verdict per expectation, in the order of the expectations, with a name such as ``mean_to_be_between[monthly_spend]``.
        For an expectation about values, `observed` is the share of values that meet it; missing values are left out, unless the
        expectation is about them. For any other expectation, `observed` is the quantity itself. An expectation that found no
        values is inconclusive. An expectation that could not be evaluated (for example because the column does not exist) failed.
    """
    if docs is None and os.environ.get(DOCS_VARIABLE):
        docs = Path(os.environ[DOCS_VARIABLE]) / (re.sub(r"[^\w.-]+", "-", name).strip(".-") or "suite")
    switch_telemetry_off()
    results = _validate(frame, expectations, name=name, docs=docs)
    if docs is not None:
        _drop_unused_images(docs)
    return [read_result(result) for result in results]


def _validate(frame: pd.DataFrame, expectations: Sequence[Expectation], *, name: str, docs: Path | None) -> list[dict[str, Any]]:
    """Return the results as plain JSON types, in the order of the expectations. Great Expectations groups them by column."""
    import great_expectations as gx  # noqa: PLC0415 - seconds
    from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415 - seconds

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    # These are marked copies, because adding an expectation to a suite changes it, and the caller may want to use it again.
    marked = [one.copy(update={"id": None, "meta": {**(one.meta or {}), _POSITION: at}}) for at, one in enumerate(expectations)]
    actions = []
    if docs is not None:
        context.add_data_docs_site("local", _describe_site(docs))
        actions = [gx.checkpoint.UpdateDataDocsAction(name="data-docs", site_names=["local"])]
    batch = context.data_sources.add_pandas("frame").add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=marked))
    validation = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    # The format is SUMMARY, because COMPLETE lists every unexpected row: 10 MB for a million rows.
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=name, validation_definitions=[validation], result_format="SUMMARY", actions=actions)
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": frame})
    found = [result.to_json_dict() for run in outcome.run_results.values() for result in run.results]
    return sorted(found, key=lambda result: int(result["expectation_config"]["meta"][_POSITION]))


def _describe_site(docs: Path) -> dict[str, Any]:
    """Return the configuration of Data Docs that are files in a folder."""
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


def _drop_unused_images(docs: Path) -> None:
    """Remove the tutorial images. No page shows them when the how-to buttons are off."""
    pages = [page.read_text(encoding="utf-8") for page in docs.rglob("*.html")]
    for image in (docs / "static" / "images").glob("*"):
        if not any(image.name in page for page in pages):
            image.unlink()


def read_result(result: Mapping[str, Any]) -> Verdict:
    """Return the verdict for the result of one expectation.

    Args:
        result: ``ExpectationValidationResult.to_json_dict()``.
    """
    severity = result["expectation_config"].get("severity") or "critical"
    verdict = _judge(result, Outcome.FAIL if severity == "critical" else Outcome.INCONCLUSIVE)
    if verdict.outcome is Outcome.INCONCLUSIVE and severity != "critical":
        return dataclasses.replace(verdict, allowed=f"the severity of the expectation is {severity}")
    return verdict


def _judge(result: Mapping[str, Any], unmet: Outcome) -> Verdict:
    """Return the verdict for the result of one expectation, with the given outcome if the expectation is not met."""
    config, numbers = result["expectation_config"], result.get("result") or {}
    kwargs = config["kwargs"]
    check, fault = name_check(config["type"], kwargs), _find_exception(result.get("exception_info") or {})
    expected = join_parts(str(config.get("description") or ""), _describe_parameters(kwargs))
    if fault:
        return Verdict(check=check, outcome=unmet, detail=join_parts(expected, f"could not be evaluated: {fault}"))
    outcome = Outcome.PASS if result["success"] else unmet
    if "element_count" not in numbers:
        return _judge_quantity(check, outcome, kwargs, numbers, expected)
    rows, missing = int(numbers["element_count"]), int(numbers.get("missing_count") or 0)
    if rows - missing == 0:
        return Verdict(
            check=check, outcome=Outcome.INCONCLUSIVE, rows=rows, detail=join_parts(expected, "there are no values to check")
        )
    return Verdict(
        check=check,
        outcome=outcome,
        observed=1 - float(numbers["unexpected_percent"]) / 100,
        threshold=float(kwargs.get("mostly", 1.0)),
        comparison=">=",
        rows=rows,
        detail=join_parts(expected, _describe_unexpected(numbers)),
    )


def _judge_quantity(
    check: str, outcome: Outcome, kwargs: Mapping[str, Any], numbers: Mapping[str, Any], expected: str
) -> Verdict:
    """Return the verdict about one quantity of a column or table, for example a mean."""
    value = numbers.get("observed_value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        found = f"observed {_shorten(value)}" if value is not None else ""
        return Verdict(check=check, outcome=outcome, detail=join_parts(expected, found, _shorten(numbers.get("details", ""))))
    return Verdict(check=check, outcome=outcome, observed=float(value), detail=expected, **_read_bounds(kwargs))


def _read_bounds(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the threshold, the comparison and the upper bound of an expectation about a quantity."""
    low, high = (
        float(limit) if isinstance(limit := kwargs.get(key), int | float) else None for key in ("min_value", "max_value")
    )
    over, under = (sign.rstrip("=") if kwargs.get(f"strict_{end}") else sign for sign, end in ((">=", "min"), ("<=", "max")))
    if low is None:
        return {"threshold": high, "comparison": under} if high is not None else {}
    return {"threshold": low, "comparison": over, "upper": high}


def name_check(kind: str, kwargs: Mapping[str, Any]) -> str:
    """Return a short name that stays the same from run to run.

    >>> name_check("expect_column_mean_to_be_between", {"column": "monthly_spend", "min_value": 20})
    'mean_to_be_between[monthly_spend]'
    """
    subjects = [kwargs[key] for key in _SUBJECTS if kwargs.get(key)]
    names = [str(name) for subject in subjects for name in (subject if isinstance(subject, list) else [subject])]
    short = kind.removeprefix("expect_")
    if "column" in kwargs and short.startswith("column_"):
        short = short.removeprefix("column_")
    return f"{short}[{','.join(names)}]" if names else short


def _find_exception(info: Mapping[str, Any]) -> str:
    """Return the message of the exception that kept an expectation from being evaluated; empty if there was none.

    If a metric failed, Great Expectations nests the exception below the name of the metric.
    """
    parts = [info, *(part for part in info.values() if isinstance(part, dict))]
    for part in parts:
        if part.get("raised_exception") is True:
            lines = [line.strip() for line in str(part.get("exception_message")).splitlines() if line.strip()]
            return _shorten(lines[0] if lines else "no message")
    return ""


def _describe_parameters(kwargs: Mapping[str, Any]) -> str:
    """Return what is expected, for example ``min 20, max 400`` or ``value set ['a', 'b']``."""
    words = []
    for key, value in kwargs.items():
        if key not in _NO_PARAMETER and value is not None and value is not False:
            shown = format_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else _shorten(value)
            words.append(f"{key.removesuffix('_value').strip('_').replace('_', ' ')} {shown}")
    return ", ".join(words)


def _describe_unexpected(numbers: Mapping[str, Any]) -> str:
    """Return how many values do not meet the expectation, with examples."""
    count = int(numbers.get("unexpected_count") or 0)
    if not count:
        return ""
    found = numbers.get("partial_unexpected_counts") or []
    examples = ", ".join(_shorten(one["value"]) for one in found[:_MOST_EXAMPLES] if one.get("value") is not None)
    return f"{count:,} of {int(numbers['element_count']):,} unexpected" + (f": {examples}" if examples else "")


def _shorten(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
