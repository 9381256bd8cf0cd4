"""Journals in every state, and a function that makes one decision on them."""

from __future__ import annotations

import dataclasses
from typing import Any

from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.health import Health
from sluice.rollout.decisions.interim_looks import Judgement
from sluice.rollout.decisions.plan import plan_next
from sluice.rollout.decisions.states import Approval, ChampionTerm, Command, CommandKind, Journal, Phase, Request, State
from sluice.rollout.decisions.transitions import Plan, advance

SETTINGS = RolloutTable(bake_seconds=60.0, deadline_seconds=1000.0, approval_seconds=500.0)
READY = {name: Health(ready=True) for name in "abc"}
PASSED = Judgement(passed=True, reason="fine")
FAILED = Judgement(failed=True, reason="e-value 120")
NOTHING = Judgement()
ENDS = {Phase.PROMOTED, Phase.ROLLED_BACK, Phase.ABORTED, Phase.REJECTED}


def term(*releases: str) -> tuple[ChampionTerm, ...]:
    return tuple(ChampionTerm(release=release, by="ada", at=0.0) for release in releases)


def request(release: str = "c", at: float = 0.0, steps: tuple[int, ...] = (5, 25, 100)) -> Request:
    return Request(id=f"{release}-{at}", release=release, by="bob", at=at, steps=steps)


def approval(release: str = "c", until: float = 500.0, steps: tuple[int, ...] = (5, 25, 100)) -> Approval:
    return Approval(release=release, steps=steps, by="eve", at=0.0, until=until)


def running(phase: Phase = Phase.AWAITING_READY, step: int | None = None, **changes: Any) -> Journal:
    weights = {"b": 100} if step is None else {"b": 100 - (5, 25, 100)[step], "c": (5, 25, 100)[step]}
    base = Journal(
        history=term("a", "b"), request=request(), state=State(phase=phase, step=step), weights=weights, approvals=(approval(),)
    )
    return dataclasses.replace(base, **changes)


def decide(
    journal: Journal, judgement: Judgement = NOTHING, now: float = 10.0, health: dict[str, Health] = READY
) -> tuple[Plan, Journal]:
    plan = plan_next(journal, judgement, health, now=now, settings=SETTINGS)
    return plan, advance(journal, plan, evidence={}, now=now) if plan.changes else journal


def command(kind: CommandKind, at: float = 9.5) -> Command:
    return Command(kind=kind, by="kim", at=at)
