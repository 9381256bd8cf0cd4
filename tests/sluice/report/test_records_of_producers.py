"""The report reads what the gate, the statistics and the rollout write."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import report_records

from sluice.gate.decision import decide_promotion
from sluice.project.tables.rollout import RolloutTable
from sluice.report.record_reader import parse_run
from sluice.report.renderers.html import render_html
from sluice.report.results import Act, Report
from sluice.report.summary import describe_gate, find_key_number, list_headline_tiles, list_tiles
from sluice.rollout.decisions.interim_looks import Judgement
from sluice.rollout.decisions.plan import plan_next
from sluice.rollout.decisions.states import ChampionTerm, Command, CommandKind, Journal, Phase, Request, State, Transition
from sluice.rollout.decisions.transitions import advance
from sluice.rollout.requests.histories import compute_numbers
from sluice.statistics.auc import estimate_auc
from sluice.statistics.curves import calibration_points, roc_points

if TYPE_CHECKING:
    from sluice.report.results import RunResult

ROWS = 3000


def read(part: dict[str, Any]) -> RunResult:
    """Convert the part to JSON and back, as a file would, read it, and render the page."""
    run = parse_run(json.loads(json.dumps(part)))
    assert run.notes == ()
    render_html(Report(title="t", generated=report_records.GENERATED, acts=(Act(title="a", run=run),)))
    return run


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).random(ROWS) < 0.25


def scores(labels: np.ndarray, signal: float) -> np.ndarray:
    noise = np.random.default_rng(2).normal(size=ROWS)
    return 1 / (1 + np.exp(-(signal * labels + noise)))


@pytest.mark.parametrize(("signal", "promote"), [(2.5, True), (1.0, False)])
def test_the_report_reads_a_decision_of_the_gate(labels: np.ndarray, signal: float, promote: bool) -> None:
    decision = decide_promotion(
        labels, champion=scores(labels, 1.0), challenger=scores(labels, signal), margin=0.005, alpha=0.05, budget=52, uses=3
    )
    gate = read({"gate": decision.to_public_dict()}).gate
    assert gate is not None
    assert (gate.promote, gate.uses, gate.budget) == (promote, 3, 52)
    assert (gate.difference is not None) is promote
    assert describe_gate(gate)


def test_the_report_reads_the_decision_about_a_first_champion(labels: np.ndarray) -> None:
    decision = decide_promotion(
        labels, champion=None, challenger=scores(labels, 1.0), margin=0.005, alpha=0.05, budget=52, uses=1
    )
    gate = read({"gate": decision.to_public_dict()}).gate
    assert gate is not None
    assert (gate.first, gate.unproven, gate.promote) == (True, True, True)


def test_the_report_reads_the_curves_of_a_model(labels: np.ndarray) -> None:
    probabilities = scores(labels, 1.0)
    estimate = estimate_auc(labels, probabilities)
    roc = dataclasses.asdict(roc_points(labels, probabilities))
    part = {
        "roc": roc | {"auc": estimate.auc, "interval": dataclasses.asdict(estimate.interval)},
        "calibration": dataclasses.asdict(calibration_points(labels, probabilities)),
    }
    curves = read({"curves": {"challenger": part, "champion": None}}).curves
    assert curves is not None
    assert curves.challenger is not None
    assert curves.challenger.roc is not None
    assert curves.challenger.roc.auc == estimate.auc
    assert curves.challenger.calibration is not None
    assert sum(curves.challenger.calibration.rows) == ROWS


def test_the_report_reads_transitions_and_numbers_of_a_rollback(rollout_settings: RolloutTable) -> None:
    counts = {"canary_requests": 40, "canary_errors": 9, "stable_requests": 700, "stable_errors": 0, "e_value": 131.0}
    common = {"reason": "r", "rollout": "id", "release": "b"}
    moves = (
        Transition(
            time=10.0,
            from_state="awaiting_approval",
            to_state="step-1",
            weights={"a": 95, "b": 5},
            decided_at=10.0,
            applied_at=10.1,
            **common,
        ),
        Transition(
            time=20.0,
            from_state="step-1",
            to_state="rolled_back",
            weights={"a": 100, "b": 0},
            evidence=counts,
            decided_at=20.0,
            applied_at=20.2,
            **common,
        ),
    )
    rollout = read(
        {"rollout": {"transitions": [move.to_dict() for move in moves], "numbers": compute_numbers(moves, rollout_settings)}}
    ).rollout
    assert rollout is not None
    assert [(move.from_state, move.to, move.moment) for move in rollout.transitions] == [
        ("awaiting_approval", "step-1", 10.1),
        ("step-1", "rolled_back", 20.2),
    ]
    assert [(fact.value, fact.detail) for fact in list_tiles(rollout)] == [
        ("200 ms", ""),
        ("0", ""),
        ("9", "of 40 requests that it received"),
        ("40", ""),
        ("10 s", ""),
    ]


def test_the_time_after_a_command_is_never_shown_as_the_time_after_a_detection() -> None:
    story = report_records.story()
    headline = {fact.label: fact.value for fact in list_headline_tiles(story)}
    assert headline["From detection to 0 % at the proxy"] == "118 ms", (
        "the automatic rollback took 118 ms, the one by command 86 ms"
    )
    assert "From command to 0 % at the proxy" not in headline
    by_hand = story.acts[4].run
    assert by_hand.rollout is not None
    assert ("From command to 0 % at the proxy", "86 ms") in [(fact.label, fact.value) for fact in list_tiles(by_hand.rollout)]
    key = find_key_number(by_hand)
    assert key is not None
    assert (key.label, key.value) == ("from command to 0 %", "86 ms")
    alone = story.model_copy(update={"acts": story.acts[4:]})
    assert "From command to 0 % at the proxy" in {fact.label for fact in list_headline_tiles(alone)}


def test_a_transition_names_the_person_whose_command_it_follows() -> None:
    state, request = State(phase=Phase.STEP, step=0, since=1.0), Request(id="r", release="b", by="bob", at=1.0, steps=(5, 100))
    journal = Journal(
        history=(ChampionTerm(release="a", by="bob", at=0.0),), request=request, state=state, weights={"a": 95, "b": 5}
    )
    settings = RolloutTable()
    without_command = plan_next(journal, Judgement(), {}, now=9000.0, settings=settings)
    assert advance(journal, without_command, evidence={}, now=9000.0).transitions[-1].commanded_by == ""
    commanded = dataclasses.replace(journal, command=Command(kind=CommandKind.ROLLBACK, by="kim", at=2.0))
    with_command = plan_next(commanded, Judgement(), {}, now=2.1, settings=settings)
    assert advance(commanded, with_command, evidence={}, now=2.1).transitions[-1].to_dict()["word_of"] == "kim"
