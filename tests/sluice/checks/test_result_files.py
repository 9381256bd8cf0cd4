"""The page, its bars, the text of verdicts and the event log."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.checks.events import EventLog, Failure, read_events
from sluice.checks.result_files import scale_bar, write_junit, write_page
from sluice.checks.verdict_text import clean_text, describe_verdict
from sluice.verdicts import Interval, Outcome, Verdict

if TYPE_CHECKING:
    from pathlib import Path

numbers = st.floats(-1e6, 1e6)


@given(numbers, numbers, numbers, numbers)
def test_the_numbers_on_a_bar_keep_their_order_and_stay_inside(one: float, two: float, observed: float, threshold: float) -> None:
    interval = Interval(min(one, two), max(one, two), 0.95, "any")
    bar = scale_bar(Verdict(check="a", outcome=Outcome.PASS, observed=observed, interval=interval, threshold=threshold))
    placed = {"low": bar.low, "high": bar.high, "observed": bar.observed, "threshold": bar.threshold}
    given_values = {"low": interval.low, "high": interval.high, "observed": observed, "threshold": threshold}
    assert all(0 <= value <= bar.width for value in placed.values())
    in_order = [placed[name] for name in sorted(given_values, key=given_values.__getitem__)]
    assert in_order == sorted(in_order)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(check="a", outcome=Outcome.PASS),
        Verdict(check="a", outcome=Outcome.PASS, observed=1.0),
        Verdict(check="a", outcome=Outcome.PASS, observed=1.0, interval=Interval(0.0, math.inf, 0.95, "any")),
        Verdict(check="a", outcome=Outcome.FAIL, observed=math.nan, threshold=1.0),
    ],
)
def test_a_verdict_with_nothing_to_compare_has_no_bar(verdict: Verdict) -> None:
    assert scale_bar(verdict) is None


@given(st.text(), st.text())
def test_any_text_gives_readable_files(tmp_path_factory: pytest.TempPathFactory, name: str, text: str) -> None:
    folder = tmp_path_factory.mktemp("pages")
    verdict = Verdict(check=name, outcome=Outcome.FAIL, detail=text)
    failure = Failure(name, text, text, text)
    write_junit(
        folder / "junit.xml", "code", [verdict], [failure], {}, total=1.0, started_at=datetime(2026, 3, 1, 12, tzinfo=UTC)
    )
    case = ET.parse(folder / "junit.xml").getroot()[0][0]  # noqa: S314 - its own file
    assert case.find("failure") is not None
    assert ET.parse(folder / "junit.xml").getroot()[0].get("timestamp") == "2026-03-01T12:00:00+00:00"  # noqa: S314 - its own file
    write_page(folder / "page.html", "code", Outcome.FAIL, [verdict], [failure], 1.0)
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert page.count("<article") == 1
    assert page.count("<tr>") == 2


@given(st.text())
def test_cleaned_text_is_valid_xml_and_does_not_change_again(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    ET.fromstring(ET.tostring(ET.Element("a", b=cleaned), encoding="utf-8"))  # noqa: S314 - its own text


def test_a_verdict_is_described_in_one_line() -> None:
    interval = Interval(0.781, 0.803, 0.95, "logit-DeLong")
    verdict = Verdict(
        check="auc",
        outcome=Outcome.FAIL,
        observed=0.792,
        interval=interval,
        threshold=0.8,
        comparison=">=",
        rows=9876,
        detail="all",
    )
    assert describe_verdict(verdict) == "auc: 0.792 [0.781, 0.803] is not >= 0.8, 9,876 rows: all"
    assert describe_verdict(Verdict(check="plain", outcome=Outcome.PASS)) == "plain"
    few = dataclasses.replace(verdict, outcome=Outcome.INCONCLUSIVE, rows=20, interval=None, detail="", allowed="a pilot")
    assert describe_verdict(few) == "auc: 0.792 must be >= 0.8, 20 rows: allowed to be inconclusive: a pilot"
    between = dataclasses.replace(few, upper=0.9, allowed="")
    assert describe_verdict(between) == "auc: 0.792 must be in 0.8 to 0.9, 20 rows"


def test_an_incomplete_event_is_skipped(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    verdict = Verdict(check="auc", outcome=Outcome.PASS, interval=Interval(0.1, 0.2, 0.95, "any"))
    log.write("collected", count=2)
    log.write("started", place="one")
    log.write("verdict", verdict=verdict.to_dict())
    log.close()
    log.write("finished", status=0)
    with (tmp_path / "events").open("a") as stream:
        stream.write(json.dumps({"event": "finished", "status": 0})[:20])
    record = read_events(tmp_path / "events")
    assert (record.verdicts, record.collected, record.current, record.finished) == ([verdict], 2, "one", None)
    assert read_events(tmp_path / "gone").collected is None


@pytest.mark.parametrize("name", ["checks.verdict_text", "checks.expectations", "data.snapshots", "data.external_errors"])
def test_the_examples_in_the_docstrings_are_correct(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"sluice.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
