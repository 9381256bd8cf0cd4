"""The plan while stable answers nobody: traffic goes to a canary that answers, and back. It promotes nobody."""

from __future__ import annotations

import dataclasses

import pytest
from plan_journals import FAILED, NOTHING, PASSED, READY, approval, command, decide, running

from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.evidence import Counts
from sluice.rollout.decisions.evidence_collector import EvidenceCollector
from sluice.rollout.decisions.health import SILENT_SECONDS, Health, Verification
from sluice.rollout.decisions.interim_looks import Judgement
from sluice.rollout.decisions.plan import plan_next
from sluice.rollout.decisions.states import CommandKind, Journal, Phase
from sluice.rollout.decisions.transitions import advance

UNVERIFIED = Health(ready=True, verification=Verification(waiting="the registry does not answer"))
SILENT = READY | {"b": Health(silent_seconds=12.0)}


def diverted(phase: Phase = Phase.STEP, step: int = 0) -> Journal:
    journal = running(phase, step)
    if phase is Phase.BAKING:
        journal = dataclasses.replace(journal, weights={"b": 5, "c": 95})
    return decide(journal, health=SILENT)[1]


@pytest.mark.parametrize(("phase", "step", "share"), [(Phase.STEP, 0, 5), (Phase.STEP, 1, 25), (Phase.BAKING, 2, 95)])
def test_traffic_goes_to_a_canary_that_answers_while_stable_answers_nobody_and_returns_afterwards(
    phase: Phase, step: int, share: int
) -> None:
    journal = diverted(phase, step)
    name = f"{phase.value}-{step + 1}" if phase is Phase.STEP else phase.value
    assert (journal.state.name, journal.weights) == (f"{name}-diverted", {"b": 0, "c": 100})
    assert "stable has answered nobody for 12 s, and the canary answers" in journal.transitions[-1].reason
    assert (journal.champion, journal.target) == ("b", "c")
    for judgement in (PASSED, NOTHING):
        plan, _ = decide(journal, judgement, now=900.0, health=SILENT)
        assert not plan.changes, "neither the bake time nor a look that passed promotes"
    plan, journal = decide(journal, PASSED, now=901.0)
    assert (plan.state.name, plan.weights, plan.reason) == (
        name,
        {"b": 100 - share, "c": share},
        f"stable answers again: back to {share} %",
    )
    assert plan.state.since == 901.0, "a bake begins anew"


@pytest.mark.parametrize(
    ("why", "health", "judgement"),
    [
        ("a blip", {"b": Health(silent_seconds=SILENT_SECONDS - 0.1)}, NOTHING),
        ("stable answers", {"b": Health(ready=True, silent_seconds=99.0)}, NOTHING),
        ("its signatures are not verified", {"b": Health(silent_seconds=99.0), "c": UNVERIFIED}, NOTHING),
        ("the canary does not answer", {"b": Health(silent_seconds=99.0), "c": Health()}, NOTHING),
        ("an alarm", {"b": Health(silent_seconds=99.0)}, Judgement(alarm="12 of 30 requests failed")),
    ],
)
def test_traffic_stays_where_it_is(why: str, health: dict[str, Health], judgement: Judgement) -> None:
    plan, _ = decide(running(Phase.STEP, 0), judgement, health=READY | health)
    assert not plan.changes, why


def test_traffic_is_not_diverted_without_a_valid_approval() -> None:
    journal = running(Phase.STEP, 0, approvals=(approval(until=5.0),))
    assert not decide(journal, PASSED, health=SILENT)[0].changes


@pytest.mark.parametrize("phase", [Phase.AWAITING_READY, Phase.AWAITING_APPROVAL, Phase.SHADOW])
def test_a_canary_that_takes_no_traffic_yet_gets_none_of_stable_s(phase: Phase) -> None:
    plan, _ = decide(running(phase), health=SILENT)
    assert plan.weights.get("c", 0) in {0, 5}
    assert plan.state.returns_to is None


def test_a_canary_that_fails_is_rolled_back_even_if_it_has_all_the_traffic() -> None:
    assert decide(running(Phase.STEP, 0), FAILED, health=SILENT)[0].state.phase is Phase.ROLLED_BACK
    journal = diverted()
    assert decide(journal, FAILED, health=SILENT)[0].state.phase is Phase.ROLLED_BACK
    plan, ended = decide(journal, health=SILENT | {"c": Health(failure="crash loop")})
    assert plan.weights == {"b": 100, "c": 0}
    assert ended.condemned[-1].release == "c"


def test_the_deadline_waits_for_stable_while_only_the_canary_answers() -> None:
    journal = diverted()
    assert not decide(journal, now=5000.0, health=SILENT)[0].changes
    plan, ended = decide(journal, now=5000.0)
    assert (plan.state.phase, plan.weights) == (Phase.ROLLED_BACK, {"b": 100, "c": 0})
    assert ended.champion == "b"


@pytest.mark.parametrize("kind", [CommandKind.ABORT, CommandKind.ROLLBACK])
def test_a_person_may_send_the_traffic_to_stable_nevertheless(kind: CommandKind) -> None:
    plan, _ = decide(dataclasses.replace(diverted(), command=command(kind)), health=SILENT)
    assert plan.weights == {"b": 100, "c": 0}
    assert plan.commanded_by == "kim"


def test_a_promotion_by_a_person_gives_nothing_back_to_a_stable_that_answers_nobody_and_ends_without_it() -> None:
    """Otherwise stable would get the holdback for one round, and a stable that never answers could not be replaced."""
    promotes = dataclasses.replace(diverted(), command=command(CommandKind.PROMOTE))
    plan, journal = decide(promotes, health=SILENT)
    assert (plan.state.name, plan.weights, plan.state.promoted_by) == ("baking-diverted", {"b": 0, "c": 100}, "kim")
    assert not decide(journal, now=60.0, health=SILENT)[0].changes, "the bake takes its time"
    plan, promoted = decide(journal, now=70.1, health=SILENT)
    assert (plan.state.phase, promoted.champion, promoted.weights) == (Phase.PROMOTED, "c", {"b": 0, "c": 100})
    plan, _ = decide(journal, now=30.0)
    assert (plan.state.name, plan.weights, plan.state.promoted_by) == ("baking", {"b": 5, "c": 95}, "kim"), "stable answers again"


def test_a_diversion_in_the_bake_is_no_alarm() -> None:
    """Otherwise a later alarm would roll the canary back, as if the bake had been left because of an alarm before."""
    journal = decide(diverted(Phase.BAKING, 2))[1]
    plan, _ = decide(journal, Judgement(alarm="12 of 30 requests failed"))
    assert (plan.state.name, plan.weights["c"]) == ("step-2", 25)


def test_what_is_counted_meanwhile_is_no_evidence() -> None:
    settings, collector = RolloutTable(), EvidenceCollector(RolloutTable())
    journal = diverted()
    for count in (100, 200, 300):
        counts = {"b": Counts(requests=50), "c": Counts(requests=count, errors=count // 2)}
        collector.add_observation(journal, {"c": 100}, counts, now=float(count), stable_ready=True)
    plan = plan_next(journal, collector.judge(journal), READY, now=20.0, settings=settings)
    assert advance(journal, plan, evidence={}, now=20.0).state.name == "step-1"
    assert collector.evidence is not None
    assert collector.evidence.canary.requests == 0
