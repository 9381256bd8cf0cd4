"""A process asks a canary's executor directly, past the gateway, to decide the rollout. Only users' requests may decide it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deployments_under_test import wait_for
from load import Load

from sluice.rollout.requests import approvals, commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments_under_test import DeploymentUnderTest

USERS, FEW_USERS, DIRECT = 60.0, 2.0, 250.0
RARE = b'{"data":{"ndarray":[[1.0]]},"meta":{"tags":{"rare":1}}}'
"""A request that the canaries of these tests answer with 500. No user sends it."""


def test_requests_past_the_gateway_neither_let_a_canary_advance_nor_roll_a_healthy_one_back(
    make_deployment: Callable[..., DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    """With ``seldon.counters = "executors"``, the first canary advances at once, and the second is rolled back."""

    def prepare(deployment: DeploymentUnderTest) -> str:
        deployment.ensure_champion()
        canary = deployment.start_rollout(approved=False)
        deployment.wait_state("awaiting_approval")
        deployment.set_fault(canary, status=500, only="rare")
        return canary

    def send_good_requests(deployment: DeploymentUnderTest) -> None:
        canary = prepare(deployment)
        (pod,) = deployment.pods(canary)
        with Load(deployment.url, FEW_USERS), Load(pod.url(8000), DIRECT) as attack:
            approvals.approve(deployment.project, canary, by="ann")
            deployment.wait_state("step-1")
            begun = time.time()
            wait_for(lambda: sum(one.status == 200 and one.sent > begun for one in list(attack.answers)) > 500, what="the attack")
            assert deployment.read_journal().state.name == "step-1", [one.reason for one in deployment.transitions(canary)]
        commands.abort(deployment.project, by="kim")
        assert deployment.wait_end(canary) == "aborted"

    def send_requests_that_fail(deployment: DeploymentUnderTest) -> None:
        canary = prepare(deployment)
        (pod,) = deployment.pods(canary)
        with Load(deployment.url, USERS) as users, Load(pod.url(8000), DIRECT, [RARE]) as attack:
            approvals.approve(deployment.project, canary, by="ann")
            assert deployment.wait_end(canary) == "promoted", [one.reason for one in deployment.transitions(canary)]
        assert sum(one.status == 500 for one in attack.answers) > 300
        assert not users.failed()
        log, notice = deployment.controller.log, "executors answered requests that the gateway did not count"
        wait_for(lambda: notice in log.read_text(), what="the controller's notice")

    def act(name: str, attack: Callable[[DeploymentUnderTest], None]) -> None:
        deployment = make_deployment(name)
        attack(deployment)
        deployment.check_converged()

    in_parallel(act, ["few-users", "attacked"], [send_good_requests, send_requests_that_fail])
