"""The files that a layer leaves for people and CI systems: one self-contained HTML page and one JUnit file."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import jinja2

from sluice.checks.wording import clean_text, describe_interval, describe_observation, describe_verdict, format_number
from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from sluice.checks.events import Failure
    from sluice.verdicts import Verdict

_MARGIN = 0.12
_WIDTH = 180


@dataclass(frozen=True, slots=True)
class Bar:
    """Where things lie on a verdict's bar, in its own units from 0 to `width`.

    Attributes:
        low: Left end of the interval; that of the observation where there is none.
        high: Right end.
        observed: The observation.
        threshold: The threshold; None where there is none.
        width: Length of the bar.
    """

    low: float
    high: float
    observed: float
    threshold: float | None
    width: int = _WIDTH

    @property
    def length(self) -> float:
        """Of the interval, at least what the eye sees."""
        return max(round(self.high - self.low, 2), 1.0)


def place_bar(verdict: Verdict) -> Bar | None:
    """Scale a verdict's numbers to a bar; None where there is nothing to compare.

    The scale reaches from the least to the greatest of observation, interval and threshold, with a margin, so that what decides
    (is the threshold inside the interval?) is seen however close they are.
    """
    interval, observed, threshold = verdict.interval, verdict.observed, verdict.threshold
    if observed is None or (interval is None and threshold is None):
        return None
    low, high = (interval.low, interval.high) if interval is not None else (observed, observed)
    values = [value for value in (low, high, observed, threshold) if value is not None]
    if not all(math.isfinite(value) for value in values):
        return None
    span = max(values) - min(values) or abs(observed) or 1.0
    start, length = min(values) - _MARGIN * span, span * (1 + 2 * _MARGIN)

    def scaled(value: float) -> float:
        return round((value - start) / length * _WIDTH, 2)

    return Bar(scaled(low), scaled(high), scaled(observed), None if threshold is None else scaled(threshold))


def write_page(
    path: Path,
    layer: str,
    outcome: Outcome,
    verdicts: Sequence[Verdict],
    failures: Sequence[Failure],
    seconds: float,
    links: Sequence[tuple[str, str]] = (),
) -> None:
    """Write the layer's page: verdicts with their bars, then what went wrong. It loads nothing from anywhere.

    Args:
        path: The file.
        layer: Name of the layer.
        outcome: What the layer came to.
        verdicts: Its verdicts.
        failures: Why some failed.
        seconds: How long the layer took.
        links: (relative address, words) of further pages beside this one.
    """
    counts = {kind: sum(verdict.outcome is kind for verdict in verdicts) for kind in Outcome}
    page = _template().render(
        layer=layer,
        outcome=outcome,
        rows=[(verdict, place_bar(verdict)) for verdict in verdicts],
        counts=counts,
        unproven=sum(verdict.unproven for verdict in verdicts),
        failures=failures,
        seconds=seconds,
        links=links,
    )
    path.write_text(page, encoding="utf-8")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sluice.checks"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clean": clean_text, "number": format_number, "interval": describe_interval, "sign": _show_comparison}
    environment.globals |= {"describe_observation": describe_observation}
    return environment.get_template("layer.html")


def _show_comparison(comparison: str) -> str:
    return {">=": "≥", "<=": "≤", "==": "="}.get(comparison, comparison)


def write_junit(
    path: Path,
    layer: str,
    verdicts: Sequence[Verdict],
    failures: Sequence[Failure],
    seconds: Mapping[str, float],
    *,
    total: float,
    began: datetime,
) -> None:
    """Write the layer as one JUnit test suite: a case for each verdict, inconclusive ones as skipped.

    Made from the verdicts and not by pytest, so that it is there, and says why, also when the suite crashed.

    Args:
        path: The file.
        layer: Name of the layer, the suite's and the cases' class.
        verdicts: Its verdicts.
        failures: Why some failed.
        seconds: Check → duration of its test, as far as known.
        total: How long the layer took, in seconds.
        began: When it began.
    """
    texts = {failure.check: failure for failure in failures}
    counts = {
        "tests": len(verdicts),
        "failures": sum(verdict.failed for verdict in verdicts),
        "errors": 0,
        "skipped": sum(verdict.outcome is Outcome.INCONCLUSIVE for verdict in verdicts),
    }
    attributes = {name: str(count) for name, count in counts.items()} | {"time": f"{total:.3f}"}
    suites = ET.Element("testsuites", {"name": "sluice", **attributes})
    suite = ET.SubElement(suites, "testsuite", {"name": f"layer {layer}", **attributes})
    suite.set("timestamp", began.astimezone(UTC).isoformat(timespec="seconds"))
    for verdict in verdicts:
        case = ET.SubElement(suite, "testcase", classname=layer, name=clean_text(verdict.check))
        case.set("time", f"{seconds.get(verdict.check, 0.0):.3f}")
        _add_properties(case, verdict)
        said = clean_text(describe_verdict(verdict))
        if verdict.failed:
            failure = texts.get(verdict.check)
            ET.SubElement(case, "failure", message=said).text = clean_text(failure.text if failure and failure.text else said)
        elif verdict.outcome is Outcome.INCONCLUSIVE:
            ET.SubElement(case, "skipped", message=said)
    ET.indent(suites, " ")
    path.write_bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True))


def _add_properties(case: ET.Element, verdict: Verdict) -> None:
    """The verdict's numbers, exactly, for who reads the file by program."""
    interval = verdict.interval
    values = {
        "observed": verdict.observed,
        "interval_low": interval.low if interval else None,
        "interval_high": interval.high if interval else None,
        "threshold": verdict.threshold,
        "upper": verdict.upper,
        "rows": verdict.rows,
        "unproven": True if verdict.unproven else None,
    }
    present = {name: value for name, value in values.items() if value is not None}
    if present:
        properties = ET.SubElement(case, "properties")
        for name, value in present.items():
            ET.SubElement(properties, "property", name=name, value=str(value))
