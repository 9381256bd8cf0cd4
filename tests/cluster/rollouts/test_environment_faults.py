"""What befalls everything around a rollout: metrics, traffic, counters, stable's replicas, images, the operator."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from deployments_under_test import wait_for
from load import Load
from stand_in_images import delete_image
from test_controller_faults import RATE, check_promoted, run

from sluice.rollout.requests import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments_under_test import DeploymentUnderTest
    from rollout_namespaces import RolloutNamespace

QUICK = 10.0
"""Seconds that a rollback takes at most where three of them go at once beside three proxies; `test_cluster_drills` measures."""


def hold(deployment: DeploymentUnderTest, seconds: float) -> None:
    """It stays where it is for that long."""
    state, start = deployment.read_journal().state, time.time()

    def check() -> bool:
        assert deployment.read_journal().state == state
        return time.time() > start + seconds

    wait_for(check, seconds + 5)


def test_without_metrics_it_holds(deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]) -> None:
    """At each state, the canary's or stable's executor does not answer what it counted."""

    def lose(state: str, whose: str) -> Callable[[DeploymentUnderTest, Load], str]:
        def act(deployment: DeploymentUnderTest, load: Load) -> str:
            champion = deployment.read_journal().champion or ""
            canary = deployment.start_rollout()
            deployment.wait_state(state)
            silent = canary if whose == "canary" else champion
            deployment.set_fault(silent, port=8000, metrics=False)
            state_now = deployment.read_journal().state.name
            if state_now == state:
                hold(deployment, 8.0)
            deployment.set_fault(silent, port=8000, metrics=True)
            return check_promoted(deployment, canary)

        return act

    in_parallel(run, deployments, [lose("step-1", "canary"), lose("step-2", "stable"), lose("baking", "canary")])


def test_what_was_seen_before_the_metrics_went_away_does_not_promote(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    """The bake looks at all of its time: a look that passed in its first second does not end it blind."""

    def act(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("baking")
        wait_for(lambda: "baking for" in (said := deployment.journal.read_status()["reason"]) and "at most" in said, 20, "a look")
        assert deployment.read_journal().target == canary, "the bake was too short for this test"
        deployment.set_fault(canary, port=8000, metrics=False)
        hold(deployment, 8.0)
        deployment.set_fault(canary, port=8000, metrics=True)
        return check_promoted(deployment, canary)

    in_parallel(run, deployments, [act] * len(deployments))


def test_a_person_does_not_wait_for_an_executor_that_hangs(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    def act(deployment: DeploymentUnderTest, state: str) -> None:
        def roll_back(deployment: DeploymentUnderTest, load: Load) -> str:
            canary = deployment.start_rollout()
            deployment.wait_state("step-1")
            if state != "step-1":
                commands.promote(deployment.project, canary, by="eve")
                deployment.wait_state(state)
            deployment.set_fault(canary, port=8000, delay=30.0)
            if state == "step-1":  # a bake on a person's word ends without metrics
                hold(deployment, 3.0)
            done = commands.rollback(deployment.project, by="kim")
            assert (done["left"], done["seconds"] < QUICK) == (canary, True), done
            assert deployment.wait_end(canary) == "rolled_back"
            return canary

        run(deployment, roll_back)

    in_parallel(act, deployments, ["step-1", "step-1", "baking"])


def test_without_traffic_it_holds(deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]) -> None:
    """Until there is some, or a person takes it on their word."""

    def act(deployment: DeploymentUnderTest, word: bool) -> None:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        hold(deployment, 8.0)
        if word:
            commands.promote(deployment.project, canary, by="eve")
            assert deployment.wait_end(canary) == "promoted"
            assert deployment.transitions(canary)[-1].reason.endswith("promoted by eve")
            return
        run(deployment, lambda deployment, _load: check_promoted(deployment, canary))

    in_parallel(act, deployments, [True, False, False])


def test_counters_that_are_reset_condemn_nobody(
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


def test_stable_is_scaled_in_the_middle(deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]) -> None:
    """The operator writes no routes until the new Pods are ready; going down does not wait for them."""

    def scale(deployment: DeploymentUnderTest, replicas: int) -> None:
        champion = deployment.read_journal().champion
        found = deployment.read_seldon_deployment()
        number = next(
            index for index, one in enumerate(found["spec"]["predictors"]) if one["annotations"]["sluice.dev/release"] == champion
        )
        path = f"/spec/predictors/{number}/replicas"
        deployment.namespace.kube.ask(
            "PATCH",
            f"/apis/machinelearning.seldon.io/v1/namespaces/{deployment.namespace.name}/seldondeployments/{deployment.name}",
            [{"op": "replace", "path": path, "value": replicas}],
            kind="application/json-patch+json",
        )

    def climb(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        scale(deployment, 2)
        check_promoted(deployment, canary)
        return canary

    def turn_bad(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-2")
        scale(deployment, 2)
        deployment.set_fault(canary, status=500)
        assert deployment.wait_end(canary) == "rolled_back"
        return canary

    def by_hand(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        scale(deployment, 2)
        done = commands.rollback(deployment.project, by="kim")
        assert done["seconds"] < QUICK
        assert deployment.wait_end(canary) == "rolled_back"
        return canary

    in_parallel(run, deployments, [climb, turn_bad, by_hand])


def test_the_image_is_deleted_from_the_registry(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]], namespace: RolloutNamespace
) -> None:
    """Rolling back to a release needs nothing of the registry, and pulls nothing."""

    def act(deployment: DeploymentUnderTest, state: str) -> None:
        stable, broken = (namespace.push(mark=uuid.uuid4().hex) for _ in range(2))

        def roll_back(deployment: DeploymentUnderTest, load: Load) -> str:
            champion = deployment.start_rollout(stable)
            deployment.wait_state("step-1")
            commands.promote(deployment.project, champion, by="eve")
            assert deployment.wait_end(champion) == "promoted"
            pods = {pod.uid for pod in deployment.pods(champion)}
            canary = deployment.start_rollout(broken)
            deployment.wait_state("step-1")
            for image in (stable, broken):
                delete_image(image)
            if state != "step-1":
                commands.promote(deployment.project, canary, by="eve")
                deployment.wait_state(state)
            if state == "promoted":
                wait_for(lambda: deployment.read_journal().target is None)
            done = commands.rollback(deployment.project, by="kim")
            assert (done["to"], done["left"]) == (champion, canary)
            assert done["seconds"] < QUICK
            assert {pod.uid for pod in deployment.pods(champion)} == pods, "the same Pods"
            return canary

        run(deployment, roll_back)

    in_parallel(act, deployments, ["step-1", "baking", "promoted"])


def test_the_operator_is_away(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]], namespace: RolloutNamespace
) -> None:
    """Down goes all the same, at once; when it is back, it finds everything as it would have made it."""

    def turn_bad(deployment: DeploymentUnderTest, load: Load) -> str:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        return canary

    canaries = in_parallel(lambda deployment: turn_bad(deployment, None), deployments)  # type: ignore[arg-type]
    namespace.stop_operator()

    def act(deployment: DeploymentUnderTest, canary: str) -> None:
        with Load(deployment.url, RATE) as load:
            done = commands.rollback(deployment.project, by="kim")
            assert done["seconds"] < QUICK
            deployment.check_converged()
        assert not load.lost(canary)

    try:
        in_parallel(act, deployments, canaries)
    finally:
        namespace.start_operator()
    in_parallel(lambda deployment: deployment.check_converged(), deployments)
    for deployment, canary in zip(deployments, canaries, strict=True):
        wait_for(lambda deployment=deployment, canary=canary: not deployment.pods(canary), what="the end of the canary's Pods")
