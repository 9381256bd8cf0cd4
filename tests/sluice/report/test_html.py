from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import report_records
import report_traffic
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.report.record_reader import parse_run
from sluice.report.renderers.html import render_html
from sluice.report.results import Act, Fact, Release, Report
from sluice.report.safe_values import clean_text

VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """The elements of the page with their attributes, its text, and the elements that are still open."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes no element"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def source() -> str:
    return render_html(report_records.story())


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def one_act(raw: dict[str, Any], **fields: Any) -> Report:
    return Report(title="t", generated=report_records.GENERATED, acts=(Act(title="a", run=parse_run(raw), **fields),))


def test_every_element_is_closed(page: Page) -> None:
    assert page.open == []


def test_the_page_makes_no_requests(source: str, page: Page) -> None:
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith("#") or value == "data:,", (tag, name, value)
    assert not {"script", "iframe", "object", "embed", "img", "form"} & {tag for tag, _ in page.elements}
    assert "@import" not in source
    assert "url(" not in source
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_a_policy_forbids_scripts_and_requests(page: Page) -> None:
    policy = next(meta["content"] for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "script" not in policy


def test_every_link_inside_the_page_has_a_target(page: Page) -> None:
    ids = [str(attributes["id"]) for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        if tag in {"a", "use"}:
            assert str(attributes["href"]).removeprefix("#") in ids


def test_tables_have_headers_and_captions_and_images_have_descriptions(page: Page) -> None:
    assert all(attributes.get("scope") in {"col", "row"} for attributes in page.named("th"))
    assert len(page.named("caption")) == len(page.named("table"))
    for attributes in page.named("svg"):
        assert attributes.get("aria-hidden") == "true" or (attributes["role"] == "img" and attributes["aria-label"])
    assert page.named("html") == [{"lang": "en"}]


def test_outcomes_are_shown_as_words(page: Page) -> None:
    text = " ".join(page.text)
    for word in ("promoted", "rolled back", "restored", "failed", "pass", "unproven", "inconclusive", "not run", "as expected"):
        assert word in text


def test_the_page_shows_the_most_important_values(page: Page) -> None:
    text = re.sub(r"\s+", " ", " ".join(page.text))
    for expected in (
        "All 5 acts ended as expected.",
        "118 ms",
        "86 ms",
        "monthly_spend_mean",
        "[0.827, 0.863] 95 %",
        "2 of 52",
        "+0.0224",
    ):
        assert expected in text
    for mark in ("5 %", "25 %", "100 %"):
        assert re.search(rf"{mark} after", text)


def test_the_page_holds_whole_digests_and_shows_them_on_hover(page: Page) -> None:
    digest = report_traffic.digest_of("layer 2")
    shown = [attributes for attributes in page.named("code") if attributes.get("title") == digest]
    assert shown
    assert all(attributes["aria-label"] == digest for attributes in shown)
    assert digest.removeprefix("sha256:") in page.text


def test_the_page_says_that_code_had_uncommitted_changes(page: Page) -> None:
    assert "uncommitted changes" in " ".join(page.text)


def test_markup_in_records_is_shown_as_text() -> None:
    hostile = "<script>alert('x')</script> \"><img src=x onerror=1> {{ 7 * 7 }} </style> \x1b[31m"
    raw = report_records.story_run(1) | {"message": hostile, "reason": hostile, "commit": hostile, "id": hostile}
    raw["layers"][2]["verdicts"][0] |= {"check": hostile, "detail": hostile, "comparison": hostile}
    raw["steps"][0] |= {"name": hostile, "detail": hostile, "outcome": hostile}
    raw["rollout"]["transitions"][1] |= {"reason": hostile, "evidence": {hostile: hostile}}
    raw["release"]["manifest"] |= {"parameters": {hostile: hostile}, "snapshot": hostile}
    report = one_act(raw, expectation=hostile, facts=(Fact(label=hostile, value=hostile, tone=hostile),))
    report = report.model_copy(update={"releases": (Release(number=7, digest=hostile, tags=(hostile,)),)})
    page = Page(render_html(report))
    assert page.open == []
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert any(clean_text(hostile) in part for part in page.text)
    assert "\x1b" not in "".join(page.text)


@settings(max_examples=30)
@given(st.text(st.characters(codec=None), min_size=1, max_size=60))
def test_the_page_shows_every_commit_message_unchanged(message: str) -> None:
    page = Page(render_html(one_act({"commit": "a" * 40, "message": message})))
    assert page.open == []
    titles = [attributes["title"] for attributes in page.named("span") if attributes.get("class") == "message"]
    assert titles == ([clean_text(message)] if clean_text(message) else [])


def test_the_same_report_gives_the_same_bytes_in_every_process(source: str) -> None:
    script = (
        "import hashlib, report_records; from sluice.report.renderers.html import render_html;"
        "print(hashlib.sha256(render_html(report_records.story()).encode()).hexdigest())"
    )
    digests = set()
    for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo")):
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": str(Path(__file__).parent)}
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout.strip())
    assert digests == {hashlib.sha256(source.encode()).hexdigest()}


def test_the_page_of_a_long_rollout_stays_small() -> None:
    raw = report_records.story_run(1)
    stable, canary = (report_traffic.digest_of(f"layer {number}") for number in (1, 2))
    traffic = report_traffic.Traffic(report_records.BEGIN, {stable: 0.01, canary: 0.02}, seed=5, per_second=20)
    for share in (0, 5, 25, 100):
        traffic.run(50, {stable: 100 - share, canary: share}, canary)
    assert len(traffic.samples) >= 2000
    raw["rollout"] |= {"samples": traffic.samples}
    act = Act(title="a", run=parse_run(raw))
    page = render_html(Report(title="t", generated=report_records.GENERATED, acts=(act,) * 5))
    assert len(page.encode()) < 500_000


def test_an_empty_report_and_an_empty_run_can_be_rendered() -> None:
    assert "No runs yet." in render_html(Report(title="t", generated=report_records.GENERATED))
    assert "Interrupted." in render_html(one_act({"outcome": "interrupted"}))


def test_an_unknown_outcome_is_shown_with_its_own_name() -> None:
    assert "gone fishing" in render_html(one_act({"outcome": "gone_fishing"}))


def test_the_templates_are_files_of_the_package() -> None:
    names = {entry.name for entry in resources.files("sluice.report").joinpath("templates").iterdir()}
    assert {"report.html.j2", "report.css", "charts.css", "icons.svg"} <= names
