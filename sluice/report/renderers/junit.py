"""The report as JUnit XML. Every verdict is a test case, and so is the outcome of every act.

A failed test case means that a person should look at it. So a check that failed is a failed test case, and so is one that is
inconclusive and blocks production. In an act that ended as expected they are written as skipped, with the reason, and the outcome
stays in the output of the test case. An inconclusive check that is allowed is skipped too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from sluice.report.badges import badge_of
from sluice.report.formatting import format_interval, format_level, format_number, format_threshold
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from sluice.report.results import Act, Layer, Report

_BAD_OUTCOMES = {"failed", "rolled_back", "rejected", "undecided", "aborted", "interrupted", "cut_off"}


def render_junit(report: Report) -> str:
    """Render the report as a JUnit document: one suite for the acts, and one suite for each layer of each act.

    The same report always gives the same text.
    """
    root = ET.Element("testsuites", name=report.title)
    suites = [_acts_suite(report)]
    for place, act in enumerate(report.acts, start=1):
        suites += [_layer_suite(f"{place}. {act.title}", act, layer) for layer in act.run.layers]
    for suite in suites:
        _count(suite)
        suite.set("timestamp", report.generated.isoformat())
        root.append(suite)
    for total in ("tests", "failures", "skipped"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in suites)))
    ET.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ET.tostring(root, encoding='unicode')}\n"


def _count(suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", "0")
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")


def _acts_suite(report: Report) -> ET.Element:
    suite = ET.Element("testsuite", name="acts")
    for place, act in enumerate(report.acts, start=1):
        case = ET.SubElement(
            suite, "testcase", classname="acts", name=f"{place}. {act.title}", time=f"{act.run.duration or 0.0:.3f}"
        )
        outcome = badge_of(act.outcome).word
        description = f"{outcome}: {act.run.reason}" if act.run.reason else outcome
        if act.as_expected is False:
            message = (
                f"the expected outcome is {badge_of(act.expected).word}, the actual outcome is {description}"
                if act.expected
                else f"the outcome is not the expected one: {description}"
            )
            ET.SubElement(case, "failure", type=act.outcome or "unknown", message=message)
        elif act.as_expected is None and act.outcome in _BAD_OUTCOMES:
            ET.SubElement(case, "failure", type=act.outcome, message=description)
        warnings = [f"warning: {warning.text}. {warning.hint}" for warning in act.run.warnings]
        ET.SubElement(case, "system-out").text = "\n".join([description, *warnings])
    return suite


def _layer_suite(title: str, act: Act, layer: Layer) -> ET.Element:
    suite = ET.Element("testsuite", name=f"{title}: {layer.layer}")
    verdicts = layer.verdicts
    if badge_of(layer.outcome).tone == "bad" and not layer.count(Outcome.FAIL):
        verdicts = (
            Verdict(check=layer.layer, outcome=Outcome.FAIL, detail=layer.detail or "the layer failed without a failed check"),
            *verdicts,
        )
    for place, verdict in enumerate(verdicts):
        # Checks have no times of their own. The first one carries the layer's time, so that the sum of the suite is right.
        seconds = layer.seconds or 0.0 if place == 0 else 0.0
        case = ET.SubElement(suite, "testcase", classname=f"sluice.{layer.layer}", name=verdict.check, time=f"{seconds:.3f}")
        _add_result(case, verdict, expected=act.as_expected is True)
    return suite


def _add_result(case: ET.Element, verdict: Verdict, *, expected: bool) -> None:
    description = describe_verdict(verdict)
    how = "failed" if verdict.failed else "inconclusive"
    if verdict.blocks and expected:
        ET.SubElement(case, "skipped", message=f"{how}, and this act ended as expected: {description}")
    elif verdict.blocks:
        message = description if verdict.failed else f"inconclusive: {description}"
        ET.SubElement(case, "failure", type=verdict.outcome.value, message=message)
    elif verdict.outcome is Outcome.INCONCLUSIVE:
        ET.SubElement(case, "skipped", message=f"inconclusive: {description}")
    ET.SubElement(case, "system-out").text = f"{verdict.outcome.value}{', unproven' if verdict.unproven else ''}: {description}"


def describe_verdict(verdict: Verdict) -> str:
    """Describe a verdict in one line: observed value, interval, threshold, number of rows, detail."""
    parts = []
    if verdict.observed is not None:
        parts.append(f"observed {format_number(verdict.observed)}")
    if verdict.interval is not None:
        parts.append(f"{format_level(verdict.interval.level)} interval {format_interval(verdict.interval)}")
    if verdict.threshold is not None:
        parts.append(f"must be {format_threshold(verdict)}")
    if verdict.rows is not None:
        parts.append(f"{verdict.rows} rows")
    return "; ".join(
        [", ".join(parts), verdict.explanation]
        if parts and verdict.explanation
        else [", ".join(parts) or verdict.explanation or verdict.check]
    )
