"""Rollouts without faults, and rollouts that a person ends, with real Pods, a real Envoy and traffic all the time."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from deployments_under_test import wait_for
from load import Load

from sluice.errors import StateError
from sluice.rollout.requests import approvals, commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments_under_test import DeploymentUnderTest
    from rollout_namespaces import RolloutNamespace

RATE = 100.0


def test_the_first_release_has_no_pod_before_its_approval_and_a_canary_advances_to_all_traffic(
    make_deployment: Callable[..., DeploymentUnderTest],
) -> None:
    deployment = make_deployment("advance", steps=(5, 25, 100))
    deployment.ensure_ready()
    first = deployment.start_rollout(approved=False)
    deployment.wait_state("awaiting_approval")
    assert not deployment.pods(first), "the only release would get all traffic, so it must not start before its approval"
    approvals.approve(deployment.project, first, by="ann")
    deployment.wait_serving(first)
    with Load(deployment.url, RATE) as load:
        second = deployment.start_rollout()
        assert deployment.wait_end(second) == "promoted"
        deployment.check_converged()
        wait_for(lambda: load.count_answers(second, since=time.time() - 0.5) > 20, what="traffic at the champion")
        states = [one.to_state for one in deployment.transitions(second)]
        assert states == ["awaiting_ready", "awaiting_approval", "step-1", "step-2", "baking", "promoted"]
        deployment.check_evidence(second)
        journal = deployment.read_journal()
        assert (journal.champion, journal.previous) == (second, first)
        assert all(pod.ready for pod in deployment.pods(first)), "the Pods of N-1 must stay ready"
        assert deployment.pods(first)

        third = deployment.start_rollout()
        deployment.kubectl("wait", "--for=condition=Promoted", "--timeout=120s")
        assert deployment.wait_end(third) == "promoted"
        deployment.check_converged()
        check_what_kubectl_shows(deployment)
        wait_for(lambda: not deployment.pods(first), what="the end of the Pods of the release before N-1")
        names = [one["annotations"]["sluice.dev/release"] for one in deployment.read_seldon_deployment()["spec"]["predictors"]]
        assert names == [second, third]
        assert [pod.crashes for pod in (*deployment.pods(second), *deployment.pods(third))] == [0, 0]
    assert not load.failed(), [one for one in load.answers if one.failed][:5]


def check_what_kubectl_shows(deployment: DeploymentUnderTest) -> None:
    """Check the printed columns, the conditions and the events after two promotions."""
    journal = deployment.read_journal()
    header, row = deployment.kubectl("get").splitlines()
    assert header.split() == ["NAME", "PHASE", "CHAMPION", "CANARY", "TRAFFIC", "PODS", "READY", "AGE"]
    number = journal.history[-1].number
    assert all(part in row for part in ("promoted", f"r{number}-", f"r{number} 100 %", "True"))
    assert max(map(len, (header, row))) <= 100, row
    described = deployment.kubectl("describe")
    for text in ("AwaitingApproval", "Step1", "Promoted", "sluice-controller", "excess error rate at most"):
        assert text in described, described
    messages = json.loads(deployment.kubectl("get", "-o", "json"))["status"]["conditions"]
    assert all(one["message"] for one in messages), messages


def test_the_shadow_rejects_a_canary_with_other_answers_and_a_holdback_keeps_traffic_on_stable_during_the_bake(
    make_deployment: Callable[..., DeploymentUnderTest],
) -> None:
    deployment = make_deployment("shadow", rollout_settings="shadow_requests = 60\nshadow_difference = 0.05\nholdback = 10")
    champion = deployment.ensure_champion()
    with Load(deployment.url, RATE) as load:
        other = deployment.start_rollout(approved=False)
        deployment.wait_state("awaiting_approval")
        deployment.set_fault(other, probability=0.9)
        approvals.approve(deployment.project, other, by="ann")
        assert deployment.wait_end(other) == "rejected", [one.reason for one in deployment.transitions(other)]
        deployment.check_converged()
        assert not load.count_answers(other), "a user got an answer of the shadow"
        assert "shadow: the canary's answers differ from stable's by" in deployment.transitions(other)[-1].reason

        same = deployment.start_rollout()
        deployment.wait_state("baking")
        wait_for(lambda: deployment.route_weights() == {champion: 10, same: 90}, what="the holdback")
        assert deployment.wait_end(same) == "promoted"
        deployment.check_converged()
        states = [one.to_state for one in deployment.transitions(same)]
        assert states == ["awaiting_ready", "awaiting_approval", "shadow", "step-1", "step-2", "baking", "promoted"]
        assert deployment.transitions(same)[3].evidence["shadow_failed"] == 0
        assert all(pod.crashes == 0 for pod in deployment.pods(same))
    assert not load.failed(), [one for one in load.answers if one.failed][:5]


def test_a_canary_without_approval_gets_no_traffic_and_is_rejected_at_the_deadline(
    make_deployment: Callable[..., DeploymentUnderTest], namespace: RolloutNamespace
) -> None:
    # With the real operator, a Pod is ready after 20 s at the soonest.
    deployment = make_deployment("late", deadline=60.0 if namespace.seldon else 20.0)
    champion = deployment.ensure_champion()
    with Load(deployment.url, 20.0) as load:
        canary = deployment.start_rollout(approved=False)
        deployment.wait_state("awaiting_approval")
        with pytest.raises(StateError, match="takes no canary traffic"):
            commands.promote(deployment.project, canary, by="bob", why="a test")
        assert deployment.wait_end(canary) == "rejected"
        deployment.check_converged()
        wait_for(lambda: not deployment.pods(canary), what="the end of the rejected release's Pods")
    assert deployment.read_journal().champion == champion
    assert not load.count_answers(canary)
    assert not load.failed()


def test_a_person_can_end_a_rollout_and_roll_the_champion_back(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    def roll_canary_back(deployment: DeploymentUnderTest) -> None:
        champion = deployment.read_journal().champion
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        done = commands.rollback(deployment.project, by="kim")
        assert done["to"] == champion
        assert deployment.wait_end(canary) == "rolled_back"

    def abort(deployment: DeploymentUnderTest) -> None:
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        commands.abort(deployment.project, by="kim")
        assert deployment.wait_end(canary) == "aborted"

    def roll_champion_back(deployment: DeploymentUnderTest) -> None:
        before = deployment.read_journal().champion
        canary = deployment.start_rollout()
        deployment.wait_state("step-1")
        commands.promote(deployment.project, canary, by="eve", why="a test")
        assert deployment.wait_end(canary) == "promoted"
        done = commands.rollback(deployment.project, by="kim")
        assert (done["to"], done["left"]) == (before, canary)
        assert deployment.read_journal().champion == before

    def act(deployment: DeploymentUnderTest, end: Callable[[DeploymentUnderTest], None]) -> None:
        with Load(deployment.url, 60.0) as load:
            end(deployment)
            deployment.check_converged()
            champion = deployment.read_journal().champion or ""
            wait_for(lambda: load.count_answers(champion, since=time.time() - 0.5) > 10, what="traffic at stable")
        assert not load.failed()

    in_parallel(act, deployments, [roll_canary_back, abort, roll_champion_back])
