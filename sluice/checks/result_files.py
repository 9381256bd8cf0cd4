"""The files that a layer writes for people and CI systems: one self-contained HTML page and one JUnit file."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import jinja2

from sluice.checks.verdict_text import clean_text, describe_interval, describe_observation, describe_verdict, format_number
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
    """The positions of a verdict's numbers on its bar, from 0 to `width`.

    Attributes:
        low: Lower end of the interval. If there is no interval, the position of the observed value.
        high: Upper end of the interval. If there is no interval, the position of the observed value.
        observed: The observed value.
        threshold: The threshold; None if there is none.
        width: Length of the bar.
    """

    low: float
    high: float
    observed: float
    threshold: float | None
    width: int = _WIDTH

    @property
    def length(self) -> float:
        """Length of the interval, at least 1, so that it is visible."""
        return max(round(self.high - self.low, 2), 1.0)


def scale_bar(verdict: Verdict) -> Bar | None:
    """Scale a verdict's numbers to a bar; return None if there is nothing to compare.

    The scale covers the observed value, the interval and the threshold, with a margin. Whether the threshold lies inside the
    interval is therefore visible even if all numbers are close together.
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
    """Write the page of a layer: the verdicts with their bars, then the failures. The page loads nothing from elsewhere.

    Args:
        path: The file.
        layer: Name of the layer.
        outcome: The outcome of the layer.
        verdicts: The verdicts of the layer.
        failures: Why some of them failed.
        seconds: Duration of the layer.
        links: (relative address, text) of other pages in the same folder.
    """
    counts = {kind: sum(verdict.outcome is kind for verdict in verdicts) for kind in Outcome}
    page = _template().render(
        layer=layer,
        outcome=outcome,
        rows=[(verdict, scale_bar(verdict)) for verdict in verdicts],
        counts=counts,
        unproven=sum(verdict.unproven for verdict in verdicts),
        allowed=sum(bool(verdict.allowed) for verdict in verdicts),
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
    started_at: datetime,
) -> None:
    """Write the layer as one JUnit test suite, with one test case for each verdict.

    An inconclusive verdict is a failed case if it blocks production, and a skipped case if it is allowed.

    Sluice, not pytest, writes the file. Therefore it exists, with the reason, even if the suite
    crashed.

    Args:
        path: The file.
        layer: Name of the layer. It is the class name of the test cases.
        verdicts: The verdicts of the layer.
        failures: Why some of them failed.
        seconds: Check → duration of its test, if known.
        total: Duration of the layer in seconds.
        started_at: When the layer started.
    """
    texts = {failure.check: failure for failure in failures}
    counts = {
        "tests": len(verdicts),
        "failures": sum(verdict.blocks for verdict in verdicts),
        "errors": 0,
        "skipped": sum(verdict.outcome is Outcome.INCONCLUSIVE and not verdict.blocks for verdict in verdicts),
    }
    attributes = {name: str(count) for name, count in counts.items()} | {"time": f"{total:.3f}"}
    suites = ET.Element("testsuites", {"name": "sluice", **attributes})
    suite = ET.SubElement(suites, "testsuite", {"name": f"layer {layer}", **attributes})
    suite.set("timestamp", started_at.astimezone(UTC).isoformat(timespec="seconds"))
    for verdict in verdicts:
        case = ET.SubElement(suite, "testcase", classname=layer, name=clean_text(verdict.check))
        case.set("time", f"{seconds.get(verdict.check, 0.0):.3f}")
        _add_properties(case, verdict)
        text = clean_text(describe_verdict(verdict))
        if verdict.failed:
            failure = texts.get(verdict.check)
            ET.SubElement(case, "failure", message=text).text = clean_text(failure.text if failure and failure.text else text)
        elif verdict.blocks:
            ET.SubElement(case, "failure", type="inconclusive", message=f"inconclusive: {text}").text = text
        elif verdict.outcome is Outcome.INCONCLUSIVE:
            ET.SubElement(case, "skipped", message=text)
    ET.indent(suites, " ")
    path.write_bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True))


def _add_properties(case: ET.Element, verdict: Verdict) -> None:
    """Add the exact numbers of the verdict, for programs that read the file."""
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
