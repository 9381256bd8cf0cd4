"""The collector: windows from observations, the measured traffic, and the numbers for people."""

from __future__ import annotations

import pytest
from plan_journals import running

from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.evidence import Counts
from sluice.rollout.decisions.evidence_collector import EvidenceCollector
from sluice.rollout.decisions.states import Journal, Phase

STEP = running(Phase.STEP, 0)
WEIGHTS = {"b": 95, "c": 5}


def observe(collector: EvidenceCollector, journal: Journal, now: float, stable: int, canary: int = 0, errors: int = 0) -> None:
    counts = {"b": Counts(stable, 0), "c": Counts(canary, errors)}
    collector.add_observation(journal, journal.desired_weights, counts, now=now, stable_ready=True)


def test_the_time_between_two_observations_closes_a_block() -> None:
    collector = EvidenceCollector(RolloutTable())
    observe(collector, STEP, 10.0, 0)
    observe(collector, STEP, 10.5, 47, 3, 1)
    assert collector.evidence is not None
    assert collector.evidence.process.canary_requests == 0, "half a second is not a block"
    observe(collector, STEP, 11.0, 95, 5, 1)
    assert (collector.evidence.process.canary_requests, collector.evidence.process.canary_errors) == (5, 1)


def test_the_traffic_is_measured_between_rollouts_and_survives_a_restart() -> None:
    idle = Journal(history=STEP.history, weights={"b": 100})
    collector = EvidenceCollector(RolloutTable())
    for second in range(11):
        observe(collector, idle, float(second), 40 * second)
    assert collector.describe(idle)["requests_per_second"] == pytest.approx(40.0)
    restarted = EvidenceCollector(RolloutTable())
    restarted.resume(collector.checkpoint())
    assert restarted.describe(idle) == collector.describe(idle)


def test_the_time_until_the_next_look_is_predicted() -> None:
    collector = EvidenceCollector(RolloutTable())
    for second in range(11):
        observe(collector, STEP, float(second), 95 * second, 5 * second)
    numbers = collector.describe(STEP)
    assert numbers["requests_per_second"] == pytest.approx(100.0)
    assert numbers["seconds_to_next_look"] == pytest.approx(250 / 5)
