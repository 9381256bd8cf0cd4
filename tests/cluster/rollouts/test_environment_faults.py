"""Faults and changes around a rollout: metrics, traffic, counters, stable's replicas, images and the operator."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from deployments_under_test import wait_for
from load import Load
from stand_in_images import delete_image
from test_controller_faults import RATE, check_promoted, run

from sluice.rollout.platforms.seldon.api import MODEL_ROLLOUT
from sluice.rollout.requests import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments_under_test import DeploymentUnderTest
    from rollout_namespaces import RolloutNamespace

MAX_ROLLBACK_SECONDS = 10.0
"""Upper limit for a rollback while three run at once through three proxies. `test_cluster_drills` measures the real time."""


def check_state_stays(deployment: DeploymentUnderTest, seconds: float) -> None:
    """Check for some seconds that the rollout stays in its state."""
    state, start = deployment.read_journal().state, time.time()

    def check() -> bool:
        assert deployment.read_journal().state == state
        return time.time() > start + seconds

    wait_for(check, seconds + 5)


def test_a_rollout_stays_at_its_step_without_metrics(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    """The canary's or stable's executor does not give its metrics, at each state."""

    def lose_metrics(state: str, whose: str) -> Callable[[DeploymentUnderTest, Load], str]:
        def act(deployment: DeploymentUnderTest, load: Load) -> str:
            champion = deployment.read_journal().champion or ""
            canary = deployment.start_rollout()
            deployment.wait_state(state)
            without_metrics = canary if whose == "canary" else champion
            deployment.set_fault(without_metrics, port=8000, metrics=False)
            state_now = deployment.read_journal().state.name
            if state_now == state:
                check_state_stays(deployment, 8.0)
            deployment.set_fault(without_metrics, port=8000, metrics=True)
            return check_promoted(deployment, canary)

        return act

    in_parallel(
        run, deployments, [lose_metrics("step-1", "canary"), lose_metrics("step-2", "stable"), lose_metrics("baking", "canary")]
    )


def test_a_canary_is_not_promoted_on_evidence_from_before_the_metrics_were_lost(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    """The bake needs evidence from its whole time. A look that passed in its first second does not end it without metrics."""

    def act(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("baking")
        wait_for(
            lambda: "baking for" in (reason := deployment.journal.read_status()["reason"]) and "at most" in reason,
            20,
            "an interim look",
        )
        assert deployment.read_journal().target == canary, "the bake was too short for this test"
        deployment.set_fault(canary, port=8000, metrics=False)
        check_state_stays(deployment, 8.0)
        deployment.set_fault(canary, port=8000, metrics=True)
        return check_promoted(deployment, canary)

    in_parallel(run, deployments, [act] * len(deployments))


def test_a_rollback_by_hand_does_not_wait_for_an_executor_that_hangs(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    def act(deployment: DeploymentUnderTest, state: str) -> None:
        def roll_back(deployment: DeploymentUnderTest, load: Load) -> str:
            canary = deployment.start_rollout()
            deployment.wait_state("step-1")
            if state != "step-1":
                commands.promote(deployment.project, canary, by="eve", why="a test")
                deployment.wait_state(state)
            deployment.set_fault(canary, port=8000, delay=30.0)
            if state == "step-1":  # A bake that a person ordered ends without metrics.
                check_state_stays(deployment, 3.0)
            done = commands.rollback(deployment.project, by="kim")
            assert (done["left"], done["seconds"] < MAX_ROLLBACK_SECONDS) == (canary, True), done
            assert deployment.wait_end(canary) == "rolled_back"
            return canary

        run(deployment, roll_back)

    in_parallel(act, deployments, ["step-1", "step-1", "baking"])


def test_a_rollout_stays_at_its_step_without_traffic(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    """It continues when there is traffic again, or when a person promotes the canary."""

    def act(deployment: DeploymentUnderTest, by_hand: bool) -> None:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        check_state_stays(deployment, 8.0)
        if by_hand:
            commands.promote(deployment.project, canary, by="eve", why="a test")
            assert deployment.wait_end(canary) == "promoted"
            assert deployment.transitions(canary)[-1].reason.endswith("promoted by ann for eve")
            return
        run(deployment, lambda deployment, _load: check_promoted(deployment, canary))

    in_parallel(act, deployments, [True, False, False])


def test_no_release_is_rolled_back_because_counters_are_reset(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    def reset(state: str) -> Callable[[DeploymentUnderTest, Load], str]:
        def act(deployment: DeploymentUnderTest, load: Load) -> str:
            champion = deployment.read_journal().champion or ""
            canary = deployment.start_rollout()
            deployment.wait_state(state)
            for release in (canary, champion):
                deployment.set_fault(release, port=8000, reset=True)
            check_promoted(deployment, canary)
            assert all(one.evidence.get("canary_errors", 0) == 0 for one in deployment.transitions(canary))
            return canary

        return act

    in_parallel(run, deployments, [reset(state) for state in ("step-1", "step-2", "baking")])


def test_scaling_stable_does_not_disturb_a_rollout(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    """The operator writes no routes until the new Pods are ready. A rollback does not wait for them."""

    def scale(deployment: DeploymentUnderTest, replicas: int) -> None:
        deployment.cluster.merge(MODEL_ROLLOUT, deployment.name, {"spec": {"replicas": replicas}}, manager="platform team")
        wait_for(
            lambda: all(one["replicas"] == replicas for one in deployment.read_seldon_deployment()["spec"]["predictors"][-2:]),
            what="the replicas of champion and canary",
        )

    def promote_healthy(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        scale(deployment, 2)
        check_promoted(deployment, canary)
        return canary

    def roll_back_failing(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-2")
        scale(deployment, 2)
        deployment.set_fault(canary, status=500)
        assert deployment.wait_end(canary) == "rolled_back"
        return canary

    def roll_back_by_hand(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        scale(deployment, 2)
        done = commands.rollback(deployment.project, by="kim")
        assert done["seconds"] < MAX_ROLLBACK_SECONDS
        assert deployment.wait_end(canary) == "rolled_back"
        return canary

    in_parallel(run, deployments, [promote_healthy, roll_back_failing, roll_back_by_hand])


def test_a_rollback_works_although_the_image_was_deleted_from_the_registry(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]], namespace: RolloutNamespace
) -> None:
    """A rollback pulls no image and needs no registry."""

    def act(deployment: DeploymentUnderTest, state: str) -> None:
        stable, broken = (namespace.push(mark=uuid.uuid4().hex) for _ in range(2))

        def roll_back(deployment: DeploymentUnderTest, load: Load) -> str:
            champion = deployment.start_rollout(stable)
            deployment.wait_state("step-1")
            commands.promote(deployment.project, champion, by="eve", why="a test")
            assert deployment.wait_end(champion) == "promoted"
            pods = {pod.uid for pod in deployment.pods(champion)}
            canary = deployment.start_rollout(broken)
            deployment.wait_state("step-1")
            for image in (stable, broken):
                delete_image(image)
            if state != "step-1":
                commands.promote(deployment.project, canary, by="eve", why="a test")
                deployment.wait_state(state)
            if state == "promoted":
                wait_for(lambda: deployment.read_journal().target is None)
            done = commands.rollback(deployment.project, by="kim")
            assert (done["to"], done["left"]) == (champion, canary)
            assert done["seconds"] < MAX_ROLLBACK_SECONDS
            assert {pod.uid for pod in deployment.pods(champion)} == pods, "stable must keep its Pods"
            return canary

        run(deployment, roll_back)

    in_parallel(act, deployments, ["step-1", "baking", "promoted"])


def test_a_rollback_works_while_the_operator_is_stopped(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]], namespace: RolloutNamespace
) -> None:
    """The rollback succeeds at once. When the operator runs again, it has nothing to change."""

    def start_canary(deployment: DeploymentUnderTest) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        return canary

    canaries = in_parallel(start_canary, deployments)
    namespace.stop_operator()

    def act(deployment: DeploymentUnderTest, canary: str) -> None:
        with Load(deployment.url, RATE) as load:
            done = commands.rollback(deployment.project, by="kim")
            assert done["seconds"] < MAX_ROLLBACK_SECONDS
            deployment.check_converged()
        assert not load.lost(canary)

    try:
        in_parallel(act, deployments, canaries)
    finally:
        namespace.start_operator()
    in_parallel(lambda deployment: deployment.check_converged(), deployments)
    for deployment, canary in zip(deployments, canaries, strict=True):
        wait_for(lambda deployment=deployment, canary=canary: not deployment.pods(canary), what="the end of the canary's Pods")
