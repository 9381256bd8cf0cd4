"""Great Expectations as a source of verdicts: expectations over one frame, without a project of its own and without telemetry.

Great Expectations 1.x is imported by the call (2.6 to 4.5 s), and never before its telemetry is switched off.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.checks.wording import format_number
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from great_expectations.expectations import Expectation

DOCS_VARIABLE = "SLUICE_DATA_DOCS"
"""Folder for Data Docs where a call names none; a layer's run sets it."""

_TELEMETRY_VARIABLE = "GX_ANALYTICS_ENABLED"
_POSITION = "sluice_position"
_MOST_EXAMPLES = 3
_MOST_CHARACTERS = 120
_SUBJECTS = ("column", "column_A", "column_B", "column_list", "column_set")
_NO_PARAMETER = {"batch_id", "mostly", "result_format", "column", "column_A", "column_B", "column_list"}


def switch_telemetry_off() -> None:
    """Keep Great Expectations from reporting its use; only works before it is imported."""
    os.environ[_TELEMETRY_VARIABLE] = "false"


def run_expectations(
    frame: pd.DataFrame, expectations: Sequence[Expectation], *, name: str, docs: Path | None = None
) -> list[Verdict]:
    """Hold a frame against expectations.

    Args:
        frame: The data; not changed.
        expectations: Instances from ``great_expectations.expectations``. One of severity "warning" or "info" that is not met is
            inconclusive, not failed.
        name: Name of the suite, shown in Data Docs.
        docs: Folder that gets the Data Docs (index.html); None for a folder named after the suite in $SLUICE_DATA_DOCS,
            and none at all where that is not set either.

    Returns:
        One verdict per expectation, in their order, named like ``mean_to_be_between[monthly_spend]``. `observed` is the share
        of values that are as expected for expectations about values (nulls left out, unless they are what it is about), the
        quantity itself for the others. An expectation that had no value to look at is inconclusive; one that could not be
        evaluated (no such column) failed.
    """
    if docs is None and os.environ.get(DOCS_VARIABLE):
        docs = Path(os.environ[DOCS_VARIABLE]) / (re.sub(r"[^\w.-]+", "-", name).strip(".-") or "suite")
    switch_telemetry_off()
    results = _validate(frame, expectations, name=name, docs=docs)
    if docs is not None:
        _drop_unused_images(docs)
    return [read_result(result) for result in results]


def _validate(frame: pd.DataFrame, expectations: Sequence[Expectation], *, name: str, docs: Path | None) -> list[dict[str, Any]]:
    """The results as plain JSON types, in the order of the expectations; Great Expectations groups them by column."""
    import great_expectations as gx  # noqa: PLC0415 - seconds
    from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415 - seconds

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    # Marked copies: adding an expectation to a suite changes it, and the caller may want to use it again.
    marked = [one.copy(update={"id": None, "meta": {**(one.meta or {}), _POSITION: at}}) for at, one in enumerate(expectations)]
    actions = []
    if docs is not None:
        context.add_data_docs_site("local", _describe_site(docs))
        actions = [gx.checkpoint.UpdateDataDocsAction(name="data-docs", site_names=["local"])]
    batch = context.data_sources.add_pandas("frame").add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
    suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=marked))
    validation = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    # SUMMARY: COMPLETE lists every unexpected row, 10 MB at a million rows.
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=name, validation_definitions=[validation], result_format="SUMMARY", actions=actions)
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": frame})
    found = [result.to_json_dict() for run in outcome.run_results.values() for result in run.results]
    return sorted(found, key=lambda result: int(result["expectation_config"]["meta"][_POSITION]))


def _describe_site(docs: Path) -> dict[str, Any]:
    """Data Docs as files in a folder."""
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


def _drop_unused_images(docs: Path) -> None:
    """Remove the tutorial pictures, which no page shows once the how-to buttons are off."""
    pages = [page.read_text(encoding="utf-8") for page in docs.rglob("*.html")]
    for image in (docs / "static" / "images").glob("*"):
        if not any(image.name in page for page in pages):
            image.unlink()


def read_result(result: Mapping[str, Any]) -> Verdict:
    """One expectation's result as a verdict.

    Args:
        result: ``ExpectationValidationResult.to_json_dict()``.
    """
    config, numbers = result["expectation_config"], result.get("result") or {}
    kwargs = config["kwargs"]
    check, fault = name_check(config["type"], kwargs), _find_exception(result.get("exception_info") or {})
    unmet = Outcome.FAIL if config.get("severity") in {None, "critical"} else Outcome.INCONCLUSIVE
    wanted = _joined(str(config.get("description") or ""), _describe_parameters(kwargs))
    if fault:
        return Verdict(check=check, outcome=unmet, detail=_joined(wanted, f"could not be evaluated: {fault}"))
    outcome = Outcome.PASS if result["success"] else unmet
    if "element_count" not in numbers:
        return _judge_quantity(check, outcome, kwargs, numbers, wanted)
    rows, missing = int(numbers["element_count"]), int(numbers.get("missing_count") or 0)
    if rows - missing == 0:
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, rows=rows, detail=_joined(wanted, "no value to look at"))
    return Verdict(
        check=check,
        outcome=outcome,
        observed=1 - float(numbers["unexpected_percent"]) / 100,
        threshold=float(kwargs.get("mostly", 1.0)),
        comparison=">=",
        rows=rows,
        detail=_joined(wanted, _describe_unexpected(numbers)),
    )


def _judge_quantity(check: str, outcome: Outcome, kwargs: Mapping[str, Any], numbers: Mapping[str, Any], wanted: str) -> Verdict:
    """A verdict over one quantity of the column or table, such as a mean."""
    value = numbers.get("observed_value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        said = f"observed {_shorten(value)}" if value is not None else ""
        return Verdict(check=check, outcome=outcome, detail=_joined(wanted, said, _shorten(numbers.get("details", ""))))
    return Verdict(check=check, outcome=outcome, observed=float(value), detail=wanted, **_read_bounds(kwargs))


def _read_bounds(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Threshold, comparison and upper bound of an expectation about a quantity."""
    low, high = (
        float(limit) if isinstance(limit := kwargs.get(key), int | float) else None for key in ("min_value", "max_value")
    )
    over, under = (sign.rstrip("=") if kwargs.get(f"strict_{end}") else sign for sign, end in ((">=", "min"), ("<=", "max")))
    if low is None:
        return {"threshold": high, "comparison": under} if high is not None else {}
    return {"threshold": low, "comparison": over, "upper": high}


def name_check(kind: str, kwargs: Mapping[str, Any]) -> str:
    """A stable, short name.

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
    """Message of what kept an expectation from being evaluated; keyed by metric where a metric failed, flat otherwise."""
    parts = [info, *(part for part in info.values() if isinstance(part, dict))]
    for part in parts:
        if part.get("raised_exception") is True:
            lines = [line.strip() for line in str(part.get("exception_message")).splitlines() if line.strip()]
            return _shorten(lines[0] if lines else "no message")
    return ""


def _describe_parameters(kwargs: Mapping[str, Any]) -> str:
    """What is expected: ``min 20, max 400``, ``value set ['a', 'b']``."""
    words = []
    for key, value in kwargs.items():
        if key not in _NO_PARAMETER and value is not None and value is not False:
            shown = format_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else _shorten(value)
            words.append(f"{key.removesuffix('_value').strip('_').replace('_', ' ')} {shown}")
    return ", ".join(words)


def _describe_unexpected(numbers: Mapping[str, Any]) -> str:
    """How many values are not as expected, with examples."""
    count = int(numbers.get("unexpected_count") or 0)
    if not count:
        return ""
    found = numbers.get("partial_unexpected_counts") or []
    examples = ", ".join(_shorten(one["value"]) for one in found[:_MOST_EXAMPLES] if one.get("value") is not None)
    return f"{count:,} of {int(numbers['element_count']):,} unexpected" + (f": {examples}" if examples else "")


def _shorten(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
