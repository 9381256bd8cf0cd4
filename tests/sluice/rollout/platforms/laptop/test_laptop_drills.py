"""A thousand rollbacks by command under load, with a real Envoy: no request is lost, and the old release gets none."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from guards import GUARD_SECONDS
from rollout_backends import Backends, name_release, wait_for
from rollout_traffic import Traffic

from sluice.rollout.platforms.laptop.supervisor import run_supervisor
from sluice.rollout.requests import approvals, commands, outcomes, starts, statuses

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("gate_passed")]

DRILLS = int(os.environ.get("SLUICE_DRILLS", "1000"))
SECONDS = float(os.environ.get("SLUICE_DRILLS_SECONDS", "180"))
A, B = name_release("a"), name_release("b")
STATES = ("step-1", "baking", "promoted")


def drill(project: Project, traffic: Traffic, state: str) -> tuple[float, float]:
    """Roll B back once; return the seconds until the proxy reported it, and until B answered for the last time."""
    approvals.approve(project, B, by="eve")
    starts.request_rollout(project, B, by="bob")
    wait_for(lambda: statuses.read_status(project).state == "step-1")
    if state != "step-1":
        commands.promote(project, B, by="eve", why="a test")
        wait_for(lambda: statuses.read_status(project).state in {"baking", "promoted"})
    if state == "promoted":
        assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "promoted"
    start = len(traffic.answers)
    wait_for(lambda: any(release == B for _, _, release in traffic.answers[start:]))
    done = commands.rollback(project, by="kim")
    assert (done["to"], done["left"]) == (A, B)
    wait_for(lambda: traffic.of(A, since=done["applied_at"] + 0.05) > 2)
    last = max((moment for moment, _, release in traffic.answers[start:] if release == B), default=0.0)
    return done["seconds"], max(0.0, last - done["decided_at"])


def test_rollbacks_by_command_under_load_lose_no_request(project: Project, backends: Backends, tmp_path: Path) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=run_supervisor, args=(project,), kwargs={"launcher": backends, "stop": stop})
    thread.start()
    try:
        proxy = outcomes.wait_until_serving(project, GUARD_SECONDS)
        approvals.approve(project, A, by="eve")
        starts.request_rollout(project, A, by="bob")
        assert outcomes.wait_for_outcome(project, A, timeout=GUARD_SECONDS) == "promoted"
        with Traffic(proxy) as traffic:
            end, found = time.monotonic() + SECONDS, []
            while len(found) < DRILLS and time.monotonic() < end:
                found.append(drill(project, traffic, STATES[len(found) % len(STATES)]))
    finally:
        stop.set()
        thread.join()
    values = np.array(found)
    half, most = np.quantile(values, (0.5, 0.99), axis=0)
    counted = f"{len(found)} drills, {len(traffic.answers)} requests, {traffic.failed().total()} failed"
    for name, index in (("the proxy reports it", 0), ("the last answer", 1)):
        sys.stdout.write(f"\n{counted}; decision until {name}: p50 {half[index]:.3f} s, p99 {most[index]:.3f} s\n")
    assert not traffic.failed()
