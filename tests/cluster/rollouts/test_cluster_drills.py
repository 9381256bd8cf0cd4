"""Measure fifty rollbacks by hand under load: the time from the decision until the release answers its last request.

The answers are measured at the Envoy.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from deployments_under_test import wait_for
from load import Load

from sluice.rollout.requests import approvals, commands, starts

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments_under_test import DeploymentUnderTest

DRILLS = int(os.environ.get("SLUICE_TEST_DRILLS", "50"))
LIMIT_SECONDS = 2.0
RATE = 60.0
KINDS = ("at a step", "at a step", "at 100 %", "at 50 %", "at a step", "at 100 %", "champion to N-1")


def drill(deployment: DeploymentUnderTest, load: Load, canary: str, kind: str) -> tuple[str, float, float, float]:
    """Roll one release back.

    Returns:
        The kind, and the seconds from the decision until the journal contained it, until both objects showed it, and until the
        release that lost the traffic answered for the last time.
    """
    wait_for(lambda: deployment.read_journal().request is None)
    starts.request_rollout(deployment.project, canary, by="bob")
    approvals.approve(deployment.project, canary, by="ann")
    deployment.wait_state("step-2" if kind == "at 50 %" else "step-1")
    if kind in {"at 100 %", "champion to N-1"}:
        commands.promote(deployment.project, canary, by="eve", why="a test")
        deployment.wait_state("baking")
    if kind == "champion to N-1":
        assert deployment.wait_end(canary) == "promoted"
    sent = time.time()
    wait_for(lambda: load.count_answers(canary, since=sent) > 2, what="traffic at the release that is rolled back")
    done = commands.rollback(deployment.project, by="kim")
    assert done["left"] == canary
    wait_for(lambda: load.count_answers(done["to"], since=done["applied_at"] + 0.7) > 10, what="traffic at stable")
    deployment.check_converged()
    last = next(one for one in reversed(deployment.transitions(canary)) if one.decided_at == done["decided_at"])
    return kind, last.time - last.decided_at, done["seconds"], max(0.0, load.last_answer_of(canary) - done["decided_at"])


def test_a_rollback_by_hand_loses_no_request_and_takes_at_most_two_seconds(
    make_deployment: Callable[..., DeploymentUnderTest],
) -> None:
    deployment = make_deployment("drills", drain=600.0, direct=True)  # The long drain keeps the Pods from one drill to the next.
    deployment.ensure_champion()
    canary = deployment.name_release()
    with Load(deployment.url, RATE) as load:
        drills = [drill(deployment, load, canary, KINDS[number % len(KINDS)]) for number in range(DRILLS)]
    failed = [one for one in load.answers if one.failed]
    names = ("the journal contains it", "both objects show it", "the last answer of the release that lost the traffic")
    for index, name in enumerate(names, 1):
        values = np.array([one[index] for one in drills])
        median, p99 = np.quantile(values, (0.5, 0.99))
        spread = f"p50 {median:.2f} s, p99 {p99:.2f} s, most {values.max():.2f} s"
        sys.stdout.write(f"\n{len(drills)} drills, decision until {name}: {spread}")
    sys.stdout.write(f"\n{Counter(one[0] for one in drills)}; {len(load.answers)} requests, {len(failed)} failed\n")
    assert not failed, failed[:5]
    assert np.quantile([one[3] for one in drills], 0.99) <= LIMIT_SECONDS
