"""The plan, by random histories, in which its guarantees must always hold."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from plan_journals import NOTHING, request, term

from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.evidence import Counts, Evidence, Window
from sluice.rollout.decisions.evidence_updates import add_window_to_evidence, enter_state
from sluice.rollout.decisions.health import Health
from sluice.rollout.decisions.judgements import judge
from sluice.rollout.decisions.plan import plan_next
from sluice.rollout.decisions.shadow_comparisons import Comparison, add_comparison, judge_comparison
from sluice.rollout.decisions.states import Approval, Command, CommandKind, Journal, Phase
from sluice.rollout.decisions.transitions import advance, begin

if TYPE_CHECKING:
    from sluice.rollout.decisions.interim_looks import Judgement

COUNTS = st.integers(0, 400).flatmap(
    lambda requests: st.tuples(st.just(requests), st.integers(0, min(requests, 4) if requests % 3 else requests))
)
GOOD = st.tuples(st.just("window"), st.just((600, 0)), st.just((600, 0)))
SILENT = Health(silent_seconds=30.0)
BAD = st.tuples(st.just("window"), st.just((20, 10)), st.just((400, 0)))
EVENTS = st.one_of(
    GOOD,
    GOOD,
    BAD,
    st.tuples(st.just("window"), COUNTS, COUNTS),
    st.tuples(st.just("approve"), st.sampled_from("bc"), st.sampled_from([20.0, 500.0])),
    st.tuples(st.just("command"), st.sampled_from(list(CommandKind)), st.none()),
    st.tuples(st.just("request"), st.sampled_from("abcd"), st.none()),
    st.tuples(
        st.just("health"),
        st.sampled_from("abcd"),
        st.sampled_from([Health(ready=True), Health(), Health(failure="crash loop"), SILENT]),
    ),
    st.tuples(st.just("time"), st.floats(0.1, 300.0), st.none()),
)


@settings(max_examples=300)
@given(
    st.lists(EVENTS, max_size=80),
    st.sampled_from([(), ("a",), ("a", "b")]),
    st.sampled_from([[5, 25, 100], [100], [50, 100]]),
    st.sampled_from([None, 20.0, 500.0]),
    st.sampled_from([0, 20]),
    st.sampled_from([0, 50]),
)
def test_the_guarantees_hold_in_every_history(
    events: list[tuple[Any, Any, Any]],
    champions: tuple[str, ...],
    steps: list[int],
    approved_for: float | None,
    holdback: int,
    shadow: int,
) -> None:
    """Weights sum to 100, no canary advances without evidence and approval, and every rollout ends by its deadline."""
    table = RolloutTable(
        steps=steps, deadline_seconds=1000.0, bake_seconds=30.0, first_look=100, holdback=holdback, shadow_requests=shadow
    )
    rollout = SimulatedRollout(table, Journal(history=term(*champions), weights={champions[-1]: 100} if champions else {}))
    first_events = [("request", "c", None), ("approve", "c", approved_for)] if approved_for else []
    for event in [*first_events, *events]:
        rollout.happen(*event)
        rollout.check_round()
    rollout.happen("time", 1000.0, None)
    rollout.health = {name: Health(ready=True) for name in "abcd"}  # a diverted rollout ends when stable answers
    rollout.check_round()
    rollout.check_round()
    assert rollout.journal.request is None, "every rollout ends by its deadline"


@dataclasses.dataclass
class SimulatedRollout:
    """A rollout that events drive."""

    settings: RolloutTable
    journal: Journal
    now: float = 1.0
    health: dict[str, Health] = dataclasses.field(default_factory=lambda: {name: Health(ready=True) for name in "abcd"})
    evidence: Evidence | None = None

    def happen(self, kind: str, first: Any, second: Any) -> None:
        self.now += 0.1
        change: dict[str, Any] = {}
        if kind == "time":
            self.now += first
        elif kind == "health":
            self.health[first] = second
        elif kind == "approve":
            steps = tuple(self.settings.steps)
            change["approvals"] = (
                *self.journal.approvals,
                Approval(release=first, steps=steps, by="eve", at=self.now, until=self.now + second),
            )
        elif kind == "command":
            change["command"] = Command(kind=first, by="kim", at=self.now)
        elif kind == "request" and self.journal.request is None and first != self.journal.champion:
            self.journal = begin(self.journal, request(first, self.now, tuple(self.settings.steps)))
        elif kind == "window" and self.journal.state.returns_to is not None:
            pass  # without stable there is no evidence
        elif kind == "window" and self.journal.request and self.journal.state.phase.exposed:
            self.enter()
            share = self.journal.weights[self.journal.request.release]
            assert self.evidence is not None
            stable = Counts(*second) if share < 100 else Counts()
            window = Window(canary=Counts(*first), stable=stable, share=share, seconds=1.0)
            self.evidence = add_window_to_evidence(self.evidence, window, self.settings)
        elif kind == "window" and self.journal.request and self.journal.state.phase is Phase.SHADOW:
            self.enter()
            assert self.evidence is not None
            compared = Comparison(requests=first[0], failed=first[1], difference=float(first[1]))
            shadow = add_comparison(self.evidence.shadow, compared, self.settings)
            self.evidence = dataclasses.replace(self.evidence, shadow=shadow)
        self.journal = dataclasses.replace(self.journal, **change)

    def enter(self) -> None:
        assert self.journal.request is not None
        self.evidence = enter_state(self.evidence, self.journal.request, self.journal.state, self.settings)

    def check_round(self) -> None:
        before = self.journal
        judgement = NOTHING
        if before.request:
            self.enter()
            assert self.evidence is not None
            judgement = judge(self.evidence, self.settings)
            if before.state.phase is Phase.SHADOW:
                judgement = judge_comparison(self.evidence.shadow, self.settings)
        plan = plan_next(before, judgement, self.health, now=self.now, settings=self.settings)
        assert plan == plan_next(before, judgement, self.health, now=self.now, settings=self.settings)
        if plan.changes:
            self.journal = advance(before, plan, evidence={}, now=self.now)
            assert len(self.journal.transitions) > len(before.transitions) or len(before.transitions) == 200
        self.check_weights()
        if before.state.phase.judged and judgement.failed:
            assert self.journal.request is None, "a failed canary loses its traffic at once"
        if before.state.phase is Phase.BAKING and judgement.alarm and before.target and not before.command:
            assert self.journal.weights[before.target] <= 25, "an alarm in the bake takes traffic away from the canary at once"
        self.check_advance(before, judgement)
        self.check_diversion(before, judgement)

    def check_weights(self) -> None:
        weights = self.journal.weights
        assert sum(weights.values()) == (100 if self.journal.champion or weights else 0)
        assert all(0 <= weight <= 100 for weight in weights.values())
        if not self.journal.request and self.journal.champion:
            assert {name for name, weight in weights.items() if weight} == {self.journal.champion}
        if self.journal.request and not self.journal.state.phase.exposed:
            assert not weights.get(self.journal.request.release)

    def check_diversion(self, before: Journal, judgement: Judgement) -> None:
        """Traffic is diverted only from a stable that answers nobody to a canary that answers, and this never promotes."""
        stable, target = self.health.get(before.champion or "", Health()), before.target
        diverts = self.journal.state.returns_to is not None and before.state.returns_to is None
        if diverts:
            assert target is not None
            assert before.state.phase.exposed
            assert stable.answers_nobody
            assert self.health[target].ready
            assert not judgement.failed
            assert not judgement.alarm
            assert self.journal.state.returns_to == before.weights[target] < 100
        if diverts or before.state.returns_to is not None:
            assert self.journal.champion != target, "nobody becomes champion because stable answers nobody"
        if before.state.returns_to is not None and stable.ready and self.journal.request:
            assert self.journal.state.returns_to is None, "traffic returns as soon as stable answers"
        if self.journal.state.returns_to is not None:
            assert self.journal.weights == {self.journal.champion: 0, self.journal.target: 100}

    def check_advance(self, before: Journal, judgement: Judgement) -> None:
        target = before.target
        if target is None:
            return
        advances = self.journal.weights.get(target, 0) > before.weights.get(target, 0)
        promoted = self.journal.champion == target
        if not advances and not promoted:
            return
        assert before.find_approval(target, tuple(self.settings.steps), self.now), "no canary advances without an approval"
        assert not judgement.failed
        assert self.now < before.request.at + self.settings.deadline_seconds if before.request else True
        first = before.state.phase is Phase.AWAITING_APPROVAL and not (before.champion and self.settings.shadow_requests)
        promoted_by_command = before.state.promoted_by or (before.command and before.command.kind is CommandKind.PROMOTE)
        diverted = self.journal.state.returns_to is not None
        assert first or promoted_by_command or judgement.passed or diverted, "no canary advances without evidence"
        assert not promoted or not before.champion or before.state.phase is Phase.BAKING
