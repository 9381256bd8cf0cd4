"""Let a canary fail at each state of its rollout. All traffic must go back to stable, and only the canary's requests may fail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from deployments_under_test import wait_for
from load import Load

from sluice.rollout.platforms.seldon.objects.serving_pods import MAX_CRASHES

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments_under_test import DeploymentUnderTest
    from rollout_namespaces import RolloutNamespace

RATE = 60.0
STATES = ("step-1", "step-2", "baking")
FAULTS: dict[str, dict[str, Any]] = {
    "500s": {"status": 500},
    "400s": {"status": 400},
    "a third 500s": {"status": 500, "share": 0.33},
    "slow": {"delay": 4.0},
    "late": {"delay": 1.0},
    "crash-loop": {"crash": True},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_controller_rolls_back_a_canary_that_begins_to_fail(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]], fault: str
) -> None:
    def act(deployment: DeploymentUnderTest, state: str) -> None:
        champion = deployment.read_journal().champion or ""
        with Load(deployment.url, RATE) as load:
            canary = deployment.start_rollout()
            deployment.wait_state(state)
            failing_since = time.time()
            deployment.set_fault(canary, **FAULTS[fault])
            assert deployment.wait_end(canary) == "rolled_back"
            deployment.check_converged()
            applied = deployment.wait_applied(canary)
            wait_for(lambda: load.count_answers(champion, since=applied + 0.5) > 20, what="traffic at stable")
        assert deployment.read_journal().champion == champion
        deployment.check_evidence(canary)
        assert not load.failed(until=failing_since - 0.1)
        assert not load.lost(canary), load.lost(canary)[:5]
        assert not load.count_answers(canary, since=applied + 0.5), (
            "the canary got requests although its weight was confirmed to be 0"
        )

    in_parallel(act, deployments, STATES)


def test_a_canary_that_never_starts_takes_no_traffic(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]], namespace: RolloutNamespace
) -> None:
    """One canary ends as it starts, one has no image, and one begins to crash before it is approved."""

    def act(deployment: DeploymentUnderTest, image: str) -> None:
        champion = deployment.read_journal().champion or ""
        with Load(deployment.url, 30.0) as load:
            canary = deployment.start_rollout(image, approved=bool(image))
            if not image:
                deployment.wait_state("awaiting_approval")
                deployment.set_fault(canary, crash=True)
            assert deployment.wait_end(canary, 150) == "rejected"
            deployment.check_converged()
        assert not load.failed()
        assert not load.count_answers(canary)
        assert deployment.read_journal().champion == champion

    assert MAX_CRASHES <= 5, "with so many crashes the test would take minutes"
    absent = namespace.model_image.partition("@")[0] + "@sha256:" + "0" * 64
    in_parallel(act, deployments, [namespace.broken_image, absent, ""])
