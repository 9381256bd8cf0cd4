"""What every form of the report says about the gate: its answer, an override beside it, and what is left of the budget."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
import report_records
from rich.console import Console

from sluice.report.record_reader import parse_run
from sluice.report.renderers.html import render_html
from sluice.report.renderers.junit import render_junit
from sluice.report.renderers.markdown import render_markdown
from sluice.report.renderers.terminal import render_terminal
from sluice.report.results import Act, Report

POWER = "The holdout has 40 gate rows."
OVERRIDE = {"model": "sha256:m", "by": "ada", "why": "a column was wrong", "at": 1.0, "until": 1_800_000_000.0}


def render_all(outcome: str, gate: dict[str, Any]) -> dict[str, str]:
    """Return the report of one run in each form that shows the gate. Blanks and line breaks are normalised."""
    run = parse_run(report_records.story_run(1) | {"outcome": outcome, "gate": gate})
    report = Report(title="t", generated=report_records.GENERATED, acts=(Act(title="a", run=run),))
    out = StringIO()
    Console(file=out, width=300, highlight=False).print(render_terminal(report))
    texts = {"terminal": out.getvalue(), "markdown": render_markdown(report), "html": render_html(report)}
    return {form: " ".join(text.split()) for form, text in texts.items()}


def answer(outcome: str, **fields: object) -> dict[str, Any]:
    verdict = report_records.verdict("gate", detail="the champion stays", rows=40) | {"outcome": outcome}
    return {"promote": False, "verdict": verdict, "uses": 3, "budget": 52, "left": 49, "power": POWER, **fields}


def test_an_override_is_shown_beside_the_gates_own_answer() -> None:
    for text in render_all("promoted", answer("fail", override=OVERRIDE)).values():
        assert "the champion stays" in text
        assert "ada let this model pass the gate until" in text
        assert "a column was wrong" in text
        assert "champion kept" in text
        assert POWER not in text


def test_an_undecided_gate_is_shown_as_undecided_with_what_it_could_see() -> None:
    shown = render_all("undecided", answer("inconclusive"))
    for text in shown.values():
        assert "undecided" in text
        assert "champion kept" not in text
        assert POWER in text
    assert "3 of 52 questions used on this holdout, 49 left" in shown["terminal"]
    run = parse_run(report_records.story_run(1) | {"outcome": "undecided", "gate": answer("inconclusive")})
    report = Report(title="t", generated=report_records.GENERATED, acts=(Act(title="a", run=run),))
    assert 'failure type="undecided"' in render_junit(report)


@pytest.mark.parametrize(("left", "note"), [(11, ""), (10, "Only 10 of 52 questions are left"), (0, "No question is left")])
def test_a_budget_that_ends_soon_is_a_warning(left: int, note: str) -> None:
    for text in render_all("kept", answer("fail", left=left)).values():
        assert f"{left} left" in text
        assert (note in text) if note else ("are left" not in text)


def test_the_first_champion_shows_what_the_gate_can_see() -> None:
    for text in render_all("promoted", report_records.gate(first=True) | {"power": POWER}).values():
        assert POWER in text
