"""A controller on standby takes over in seconds, and what others delete comes back: the routes, and the ModelRollout itself."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from deployments_under_test import wait_for
from kube import ISTIO, SLUICE
from load import Load

from sluice.rollout.platforms.seldon.objects.epochs import read_annotated_epoch

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments_under_test import Controller, DeploymentUnderTest

RATE = 60.0
MAX_TAKEOVER_SECONDS, MAX_RESTORE_SECONDS = 60.0, 60.0
"""Guards against hanging, because several deployments share a busy machine. The figures are printed. With 15 programs that wait
for two cores, they were 3.9 s for the take-over and 0.4 s for the routes."""

QUIET_SECONDS = 5.0
"""Two programs that write in turns do it several times in this time."""


def report(what: str, seconds: float) -> None:
    sys.stderr.write(f"{what}: {seconds:.2f} s\n")


def start_standby(deployment: DeploymentUnderTest) -> tuple[Controller, Controller]:
    """Start a second controller, and return the one that acts and the one on standby."""
    active = deployment.controller
    standby = deployment.start_controller()
    wait_for(lambda: "controls ModelRollout" in standby.log.read_text(), what="the second controller")
    return active, standby


def holder_of(deployment: DeploymentUnderTest) -> dict[str, Any]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{deployment.namespace.name}/leases/{deployment.name}-rollout"
    return dict(deployment.namespace.kube.ask("GET", path)["spec"])


def events_of(deployment: DeploymentUnderTest) -> set[str]:
    items = deployment.namespace.kube.list(f"/api/v1/namespaces/{deployment.namespace.name}/events")
    return {one["reason"] for one in items if one["involvedObject"]["name"] == deployment.name}


def epochs_of(deployment: DeploymentUnderTest) -> set[int]:
    rollout = deployment.namespace.kube.ask("GET", rollout_path(deployment))
    routes, predictors = deployment.read_virtual_service(), deployment.read_seldon_deployment()
    return {rollout["status"]["epoch"], read_annotated_epoch(routes), read_annotated_epoch(predictors)}


def rollout_path(deployment: DeploymentUnderTest) -> str:
    return deployment.namespace.path(SLUICE, "modelrollouts", deployment.name)


def route_path(deployment: DeploymentUnderTest, plural: str = "virtualservices", name: str = "") -> str:
    return deployment.namespace.path(ISTIO, plural, name or deployment.name)


def kill_while_the_canary_begins_to_fail(deployment: DeploymentUnderTest, load: Load) -> None:
    """Nobody acts while the canary breaks the limits. The next controller rolls it back at once."""
    active, _ = start_standby(deployment)
    canary = deployment.start_rollout()
    deployment.wait_state("step-1")
    before, killed = holder_of(deployment)["holderIdentity"], time.monotonic()
    active.kill()
    deployment.set_fault(canary, status=500)
    wait_for(lambda: holder_of(deployment)["holderIdentity"] != before, MAX_TAKEOVER_SECONDS, "the other controller")
    report("the lease has another holder after kill -9", time.monotonic() - killed)
    assert deployment.wait_end(canary) == "rolled_back"
    report("the canary that failed meanwhile was rolled back after kill -9", time.monotonic() - killed)
    wait_for(lambda: "LeaseTakenOver" in events_of(deployment), what="the event LeaseTakenOver")
    deployment.check_converged()
    assert not load.lost(canary), load.lost(canary)[:5]


def freeze_and_continue(deployment: DeploymentUnderTest, load: Load) -> None:
    """A controller that was frozen for longer than its lease writes nothing when it continues."""
    active, _ = start_standby(deployment)
    canary = deployment.start_rollout()
    deployment.wait_state("step-1")
    before = holder_of(deployment)
    active.process.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: holder_of(deployment)["leaseTransitions"] > before["leaseTransitions"], 60, "the other controller")
        epoch = holder_of(deployment)["leaseTransitions"]
        wait_for(lambda: epochs_of(deployment) == {epoch}, 60, "the epoch of the other controller")
    finally:
        active.process.send_signal(signal.SIGCONT)
    continued = time.monotonic()
    while time.monotonic() < continued + QUIET_SECONDS:
        assert epochs_of(deployment) == {epoch}
        assert holder_of(deployment)["leaseTransitions"] == epoch
        time.sleep(0.2)
    assert deployment.wait_end(canary) == "promoted"
    states = [one.to_state for one in deployment.transitions(canary)]
    assert len(states) == len(set(states)), states
    active.stop()
    assert not load.failed()


def delete_routes_while_a_canary_crash_loops(deployment: DeploymentUnderTest, load: Load) -> None:
    """Seldon's operator writes no routes then. Later the two do not write them in turns."""
    champion = deployment.read_journal().champion or ""
    canary = deployment.start_rollout(deployment.namespace.broken_image, approved=False)
    wait_for(lambda: any(pod.problem for pod in deployment.pods(canary)), what="a canary that crash-loops")
    before = deployment.read_virtual_service()["spec"]
    deleted = time.monotonic()
    deployment.namespace.kube.ask("DELETE", route_path(deployment))
    wait_for(deployment.read_virtual_service, MAX_RESTORE_SECONDS, "the restored VirtualService")
    report("the VirtualService was restored", time.monotonic() - deleted)
    assert deployment.read_virtual_service()["spec"] == before
    since = time.time()
    wait_for(lambda: load.count_answers(champion, since=since) > 30, what="traffic at the champion")
    wait_for(lambda: "RoutesRestored" in events_of(deployment), what="the event RoutesRestored")
    assert deployment.wait_end(canary, 150) == "rejected"
    deployment.check_converged()
    wait_for(lambda: not deployment.pods(canary), what="the end of the canary's Pods")
    check_quiet(deployment)


def check_quiet(deployment: DeploymentUnderTest) -> None:
    """Check that nobody writes the routes for some seconds, after they have become what they stay."""
    seen, since = "", time.monotonic()
    deadline = since + 120

    def is_quiet() -> bool:
        nonlocal seen, since
        version = deployment.read_virtual_service()["metadata"]["resourceVersion"]
        if version != seen:
            seen, since = version, time.monotonic()
        return time.monotonic() - since > QUIET_SECONDS

    wait_for(is_quiet, deadline - since, "routes that nobody writes any more")


def delete_a_destination_rule(deployment: DeploymentUnderTest, load: Load) -> None:
    """Seldon's operator does not notice that one is missing."""
    rules = deployment.namespace.kube.list(route_path(deployment, "destinationrules").rpartition("/")[0])
    (name, *_) = [one["metadata"]["name"] for one in rules if one["metadata"]["name"].startswith(f"{deployment.name}-r")]
    path = route_path(deployment, "destinationrules", name)
    before = deployment.namespace.kube.ask("GET", path)["spec"]
    wait_for(lambda: name in str(deployment.namespace.kube.ask("GET", rollout_path(deployment))["status"]["rendered"]))
    deleted = time.monotonic()
    deployment.namespace.kube.ask("DELETE", path)
    wait_for(lambda: deployment.namespace.kube.find(path), MAX_RESTORE_SECONDS, "the restored DestinationRule")
    report("the DestinationRule was restored", time.monotonic() - deleted)
    assert deployment.namespace.kube.ask("GET", path)["spec"] == before
    check_quiet(deployment)
    assert not load.failed()


def delete_the_rollout(deployment: DeploymentUnderTest, load: Load) -> None:
    """The acting controller writes it again with its journal, and the canary goes on."""
    canary = deployment.start_rollout()
    deployment.wait_state("step-1")
    history = deployment.read_journal().history
    deleted = time.monotonic()
    deployment.namespace.kube.ask("DELETE", rollout_path(deployment))
    wait_for(lambda: deployment.read_journal().history == history, MAX_RESTORE_SECONDS, "the restored ModelRollout")
    report("the ModelRollout was restored", time.monotonic() - deleted)
    assert deployment.wait_end(canary) == "promoted"
    wait_for(lambda: "RolloutRestored" in events_of(deployment), what="the event RolloutRestored")
    deployment.check_converged()
    assert not load.failed()


def delete_the_rollout_while_no_controller_runs(deployment: DeploymentUnderTest, load: Load) -> None:
    """The next controller finds champion and N-1 in the Lease."""
    canary = deployment.start_rollout()
    assert deployment.wait_end(canary) == "promoted"
    path = f"/apis/coordination.k8s.io/v1/namespaces/{deployment.namespace.name}/leases/{deployment.name}-rollout"

    def is_recorded() -> bool:
        annotations = deployment.namespace.kube.ask("GET", path)["metadata"].get("annotations") or {}
        return canary in annotations.get("sluice.dev/champions", "")

    wait_for(is_recorded, what="the record in the Lease")
    pods = {pod.uid for pod in deployment.pods(canary)}
    history = deployment.read_journal().history[-2:]
    deployment.controller.kill()
    deployment.namespace.kube.ask("DELETE", rollout_path(deployment))
    deployment.start_controller()
    wait_for(lambda: deployment.read_journal().history == history, 60, "the restored ModelRollout")
    deployment.check_converged()
    assert {pod.uid for pod in deployment.pods(canary)} == pods, "no server was restarted"
    assert not load.failed()


def run(deployment: DeploymentUnderTest, act: Callable[[DeploymentUnderTest, Load], None]) -> None:
    with Load(deployment.url, RATE) as load:
        act(deployment, load)


def test_another_controller_takes_over_within_seconds(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    in_parallel(run, deployments[:2], [kill_while_the_canary_begins_to_fail, freeze_and_continue])


def test_routes_that_somebody_deletes_come_back(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    in_parallel(run, deployments[:2], [delete_routes_while_a_canary_crash_loops, delete_a_destination_rule])


def test_a_rollout_that_somebody_deletes_comes_back_with_its_journal(
    deployments: list[DeploymentUnderTest], in_parallel: Callable[..., list[object]]
) -> None:
    in_parallel(run, deployments[:2], [delete_the_rollout, delete_the_rollout_while_no_controller_runs])
