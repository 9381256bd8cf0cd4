"""What a table shows of the gate: its answer with the numbers that are public."""

from __future__ import annotations

from typing import Any

import pytest

from sluice.engines.gate_answers import describe_gate, read_answer, read_numbers
from sluice.engines.outcomes import FinishedStep, conclude
from sluice.gate.decision import GateDecision
from sluice.verdicts import Interval, Outcome, Verdict

PROMOTED = GateDecision(
    promote=True,
    verdict=Verdict(
        check="gate",
        outcome=Outcome.PASS,
        observed=0.0213,
        interval=Interval(0.0101, 0.0325, 0.95, "paired DeLong"),
        threshold=0.002,
    ),
    first=False,
    unproven=False,
    difference=0.0213,
    lower_bound=0.004,
    level=0.999,
    uses=3,
    budget=20,
)
KEPT = GateDecision(
    promote=False,
    verdict=Verdict(check="gate", outcome=Outcome.FAIL, threshold=0.002, rows=900, detail="the champion stays"),
    first=False,
    unproven=False,
    difference=0.0123,
    lower_bound=-0.01,
    level=0.999,
    uses=4,
    budget=20,
)


def test_a_promotion_shows_the_difference_with_its_interval() -> None:
    public = PROMOTED.to_public_dict()
    assert describe_gate(read_answer(public), read_numbers(public)) == "promote +0.0213 [+0.0101, +0.0325]"


def test_a_kept_champion_shows_the_margin_and_the_question_and_never_the_secret_difference() -> None:
    public = KEPT.to_public_dict()
    shown = describe_gate(read_answer(public), read_numbers(public))
    assert shown == "keep: not shown to be > +0.0020 (question 4 of 20)"
    assert "0.0123" not in shown


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, ""),
        ({"promote": True, "first": True, "verdict": {}}, "promote: first champion"),
        ({"promote": False, "override": {"by": "ann"}, "verdict": {"threshold": 0.002}}, "override: not shown to be > +0.0020"),
        ({"promote": True, "verdict": "nonsense", "difference": float("nan")}, "promote"),
    ],
)
def test_an_answer_is_shown_as_far_as_it_is_known(document: dict[str, Any], expected: str) -> None:
    assert describe_gate(read_answer(document), read_numbers(document)) == expected


def finished(component: str, output: Any = None, outcome: str = "pass", **facts: Any) -> FinishedStep:
    return FinishedStep(component=component, outcome=outcome, output=output, facts=facts)


def test_an_outcome_says_why_with_the_numbers_that_the_step_said() -> None:
    kept = conclude([finished("gate", output=False, gate=KEPT.to_public_dict(), detail="it stays; 4 of 20")], state="succeeded")
    assert (kept.name, kept.gate, kept.reason) == ("kept", "keep", "it stays; 4 of 20")
    assert kept.numbers is not None
    assert (kept.numbers.margin, kept.numbers.uses) == (0.002, 4)
    unchanged = conclude([finished("pin-snapshot", output=False, detail="a.csv; release 2 was made from it")], state="succeeded")
    assert (unchanged.name, unchanged.reason) == ("unchanged", "a.csv; release 2 was made from it")
    package = finished("package", output="sha256:" + "a" * 64, release={"number": 3.0, "digest": "sha256:aa"})
    assert conclude([package], state="succeeded").release == "3"
    assert conclude([finished("package", output="sha256:" + "a" * 64)], state="running").release == f"sha256:{'a' * 12}"


def test_a_person_who_let_a_model_pass_is_named_and_a_gate_that_could_not_decide_has_its_numbers() -> None:
    override = KEPT.to_public_dict() | {"override": {"by": "ann", "why": "fraud wave"}}
    assert conclude([finished("gate", output=True, gate=override)], state="succeeded").gate == "override"
    failed = FinishedStep(component="gate", outcome="fail", exit_code=4)
    assert (conclude([failed], state="failed").name, conclude([failed], state="failed").gate) == ("undecided", "")
