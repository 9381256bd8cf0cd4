"""The report in the terminal, as Markdown and as JUnit XML."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import report_records
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from sluice.report.record_reader import parse_run
from sluice.report.renderers.html import render_html
from sluice.report.renderers.junit import render_junit
from sluice.report.renderers.markdown import escape, render_markdown
from sluice.report.renderers.terminal import render_layer, render_terminal
from sluice.report.results import Act, Release, Report
from sluice.report.summary import find_key_number, name_releases, write_headline

if TYPE_CHECKING:
    from rich.console import RenderableType

MARKUP_OF_ALL_KINDS = "[bold]</b> <script>x</script> | `a` \x1b[2J $(id) \ud800 [link](https://x.y)"


def print_to_text(renderable: RenderableType, width: int = 120) -> str:
    out = StringIO()
    Console(file=out, width=width, highlight=False).print(renderable)
    return out.getvalue()


def one_act(raw: dict[str, Any], **fields: Any) -> Report:
    return Report(title="t", generated=report_records.GENERATED, acts=(Act(title="a", run=parse_run(raw), **fields),))


def act_with_markup() -> Report:
    raw = report_records.story_run(1) | {"message": MARKUP_OF_ALL_KINDS, "reason": MARKUP_OF_ALL_KINDS}
    raw["layers"][2]["verdicts"][0] |= {"check": MARKUP_OF_ALL_KINDS, "detail": MARKUP_OF_ALL_KINDS}
    raw["layers"][2]["verdicts"][3] |= {"detail": MARKUP_OF_ALL_KINDS}
    return one_act(raw, expectation=MARKUP_OF_ALL_KINDS)


def test_a_drift_run_that_trained_nothing_says_that_no_drift_was_found() -> None:
    def headline(*names: str, last: str = "pass") -> str:
        steps = [{"name": name, "outcome": "pass"} for name in names[:-1]] + [{"name": names[-1], "outcome": last}]
        raw = {"id": "r", "pipeline": "drift", "outcome": "kept", "steps": steps}
        assert write_headline(one_act(raw)).text.rstrip(".").lower() in render_markdown(one_act(raw))
        return write_headline(one_act(raw)).text

    assert headline("pin-snapshot", "drift") == "No drift found."
    assert headline("pin-snapshot", "drift", "train", last="skipped") == "No drift found."
    assert headline("pin-snapshot", "drift", "train", "gate") == "Champion kept."
    assert headline("train", "gate") == "Champion kept."


def test_failed_requests_are_no_number_of_a_release_that_got_none() -> None:
    def tiles(**numbers: int) -> str:
        rollout = {"outcome": "promoted", "numbers": numbers}
        return render_markdown(one_act({"id": "r", "outcome": "promoted", "rollout": rollout}))

    assert "Failed requests" not in tiles(stable_requests=0, stable_errors=0, canary_requests=0, canary_errors=0)
    shown = tiles(stable_requests=9, stable_errors=0, canary_requests=9, canary_errors=1)
    assert "Failed requests at stable" in shown
    assert "Failed requests at the canary" in shown


def test_a_release_that_is_only_named_is_not_described() -> None:
    releases = [Release.model_validate(report_records.release(number)) for number in (1, 2)]
    report = Report(title="t", generated=report_records.GENERATED, releases=(releases[1],), others=tuple(releases))
    assert set(name_releases(report).values()) == {"release 1", "release 2"}
    for text in (print_to_text(render_terminal(report)), render_markdown(report), render_html(report)):
        assert "Release 2" in text
        assert "Release 1" not in text


def test_every_form_of_the_report_names_the_file_that_a_run_used_and_what_led_to_it() -> None:
    snapshot = {
        "digest": report_records.digest_of("snapshot"),
        "source": "exports/c-10.csv",
        "origin": "the last of 3 that match c-*",
    }
    report = one_act(report_records.story_run(1) | {"outcome": "unchanged", "snapshot": snapshot})
    for text in (print_to_text(render_terminal(report)), render_markdown(report), render_html(report)):
        assert "exports/c-10.csv (the last of 3 that match c-" in text
        assert "unchanged" in text
    hostile = one_act(report_records.story_run(1) | {"snapshot": snapshot | {"source": MARKUP_OF_ALL_KINDS}})
    assert "<script>x" not in render_html(hostile) + render_markdown(hostile)
    assert "\x1b" not in print_to_text(render_terminal(hostile))


FAILED = ["ValueError in model.py:7 (predict), 12 times: no such plan", "log: " + MARKUP_OF_ALL_KINDS]


def test_every_form_of_the_report_says_what_failed() -> None:
    rollout = {"outcome": "rolled_back", "transitions": [], "failure": {"lines": FAILED}}
    report = one_act(report_records.story_run(1) | {"rollout": rollout})
    for text in (print_to_text(render_terminal(report)), render_markdown(report), render_html(report)):
        assert "What failed" in text
        assert "12 times: no such plan" in text
        assert "\x1b" not in text
    assert "<script>x" not in render_html(report)


def test_every_form_of_the_report_says_that_a_release_was_condemned() -> None:
    rollout = {"outcome": "rolled_back", "transitions": [], "failure": None, "condemned": "release 4 is condemned"}
    report = one_act(report_records.story_run(1) | {"rollout": rollout})
    for text in (print_to_text(render_terminal(report)), render_markdown(report), render_html(report)):
        assert "release 4 is condemned" in text


@pytest.mark.parametrize("failure", [None, 5, {}, {"lines": 5}, {"lines": []}])
def test_a_rollout_without_readable_failures_is_reported_without_them(failure: object) -> None:
    report = one_act(report_records.story_run(1) | {"rollout": {"outcome": "rolled_back", "failure": failure}})
    assert "What failed" not in print_to_text(render_terminal(report))


def test_the_terminal_report_shows_the_most_important_values(story: Report) -> None:
    text = print_to_text(render_terminal(story))
    for expected in (
        "All 5 acts ended as expected.",
        "118 ms",
        "≈ unproven",
        "[0.702, 0.842]",
        "question 2 of 52 on this holdout",
        "release 2 25 %",
        "not run",
    ):
        assert expected in text
    assert "on this holdout" not in print_to_text(render_terminal(story, details=False))


def test_the_terminal_report_fits_into_eighty_columns(story: Report) -> None:
    assert max(map(len, print_to_text(render_terminal(story), width=80).splitlines())) <= 80


def test_the_terminal_report_shows_markup_in_records_as_text() -> None:
    text = print_to_text(render_terminal(act_with_markup()), width=200)
    assert "[bold]</b> <script>" in text
    assert "\x1b" not in text


def test_render_layer_shows_every_verdict() -> None:
    text = print_to_text(render_layer(report_records.data_layer(broken=True)))
    assert "✗ fail" in text
    for name in ("customer_id_unique", "monthly_spend_mean", "7,413", "≤ 400"):
        assert name in text


def test_the_markdown_report_shows_the_most_important_values(story: Report) -> None:
    text = render_markdown(story)
    for expected in ("# From a commit", "▲ promoted", "`auc_enterprise`", "≈ unproven", "2 of 52", "✗ fail", "✓ **118 ms**"):
        assert expected in text
    for line in text.splitlines():
        assert not line.startswith("|") or line.endswith("|")


def test_markdown_tables_keep_their_columns_if_a_cell_holds_markup() -> None:
    tables = re.findall(r"(?:^\|.*\n)+", render_markdown(act_with_markup()), flags=re.MULTILINE)
    assert tables
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_markdown_report_contains_no_markup_from_records() -> None:
    text = render_markdown(act_with_markup())
    assert "<script>" not in text
    assert "](https:" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b *c*", "a&#95;b &#42;c&#42;"),
        ("- item", "&#45; item"),
        ("1. item", "1\\. item"),
        ("two\n\nlines", "two lines"),
        ("plain - text, 1.5 (yes)", "plain - text, 1.5 (yes)"),
        ("see https://x", "see https&#58;//x"),
    ],
)
def test_escape_replaces_markup(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_the_counts_of_a_junit_suite_are_those_of_its_test_cases(story: Report) -> None:
    root = ET.fromstring(render_junit(story))  # noqa: S314 - the test made this XML
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites][:2] == ["acts", "1. A first release gets live traffic: code"]
    for suite in suites:
        assert int(suite.get("tests", "")) == len(suite.findall("testcase"))
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped", "")) == len(suite.findall("testcase/skipped"))
    assert int(root.get("tests", "")) == len(root.findall(".//testcase"))


def failures_of(report: Report) -> list[str]:
    root = ET.fromstring(render_junit(report))  # noqa: S314 - the test made this XML
    return [case.get("name", "") for case in root.iter("testcase") if case.find("failure") is not None]


def test_a_junit_case_fails_only_if_the_act_did_not_end_as_expected() -> None:
    broken = report_records.story_run(3)
    assert failures_of(one_act(broken)) == ["1. a", "monthly_spend_mean"]
    assert failures_of(one_act(broken, expected="failed")) == []
    assert failures_of(one_act(broken, expected="promoted")) == ["1. a", "monthly_spend_mean"]
    assert failures_of(one_act(report_records.story_run(1))) == []


def test_a_junit_case_fails_for_an_inconclusive_check_that_is_not_allowed() -> None:
    unclear = {"check": "auc", "outcome": "inconclusive", "rows": 21}
    raw = {"outcome": "failed", "layers": [{"layer": "model", "outcome": "inconclusive", "verdicts": [unclear]}]}
    assert failures_of(one_act(raw)) == ["1. a", "auc"]
    assert failures_of(one_act(raw, expected="failed")) == []
    raw["layers"][0]["verdicts"] = [unclear | {"allowed": "few customers"}]
    assert failures_of(one_act(raw)) == ["1. a"]


def test_the_key_number_of_a_run_that_an_inconclusive_check_stopped_names_the_check() -> None:
    unclear = {"check": "auc", "outcome": "inconclusive", "observed": 0.97, "threshold": 0.95, "comparison": ">=", "rows": 21}
    raw = {"outcome": "failed", "layers": [{"layer": "model", "outcome": "inconclusive", "verdicts": [unclear]}]}
    fact = find_key_number(one_act(raw).acts[0].run)
    assert (fact.label, fact.value, fact.tone) == ("layer model inconclusive", "auc", "bad")


def test_junit_has_a_failed_case_for_a_layer_that_failed_without_a_verdict() -> None:
    raw = {"outcome": "failed", "layers": [{"layer": "code", "outcome": "fail", "detail": "collected nothing", "verdicts": []}]}
    assert failures_of(one_act(raw)) == ["1. a", "code"]


@settings(max_examples=60)
@given(st.text(st.characters(codec=None), max_size=60))
def test_the_junit_report_is_valid_xml_for_every_text_in_a_record(text: str) -> None:
    raw = {
        "reason": text,
        "outcome": text,
        "layers": [{"layer": text, "outcome": text, "verdicts": [{"check": text, "outcome": "fail", "detail": text}]}],
    }
    ET.fromstring(render_junit(one_act(raw)).encode())  # noqa: S314 - the test made this XML


def test_the_same_report_gives_the_same_text_again(story: Report) -> None:
    again = report_records.story()
    assert render_markdown(story) == render_markdown(again)
    assert render_junit(story) == render_junit(again)


def test_the_headline_counts_the_acts_that_did_not_end_as_expected(story: Report) -> None:
    acts = (story.acts[0], story.acts[1].model_copy(update={"expected": "kept"}), story.acts[2].model_copy(update={"met": False}))
    headline = write_headline(story.model_copy(update={"acts": acts}))
    assert (headline.text, headline.tone) == ("2 of 3 acts did not end as expected.", "bad")
