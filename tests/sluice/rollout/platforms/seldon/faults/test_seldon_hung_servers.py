"""The controller in the simulated cluster, when a server hangs: Kubernetes restarts it, and the controller reports it."""

from __future__ import annotations

import re

import pytest
from memory_api import MemoryApi
from prometheus_client import generate_latest
from simulated_cluster import SimulatedCluster, SimulatedServer, make_settings

from sluice.rollout.decisions.states import Transition
from sluice.rollout.platforms.seldon.objects.pod_watches import PodWatch
from sluice.rollout.platforms.seldon.objects.predictors import PackagedRelease, build_predictor
from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod, read_pod
from sluice.rollout.platforms.seldon.platform import SeldonPlatform
from sluice.rollout.platforms.seldon.telemetry import Events, Metrics

A, B = (f"sha256:{letter * 64}" for letter in "ab")


def make_pod(release: str = A, *, ready: bool = True, crashes: int = 0, problem: str = "") -> ServingPod:
    return ServingPod(
        uid="u",
        name="churn-r1",
        release=release,
        image="i",
        ip="10.0.0.1",
        ready=ready,
        created_at=0.0,
        problem=problem,
        crashes=crashes,
        terminating=False,
    )


def test_a_server_that_stops_being_ready_is_reported_once() -> None:
    watch = PodWatch()
    assert watch.observe([A], [make_pod()]) == []
    (event,) = watch.observe([A], [make_pod(ready=False)])
    assert (event.release, event.text) == (A, "is not ready any more: its health check fails")
    assert watch.observe([A], [make_pod(ready=False)]) == []
    assert watch.observe([A], [make_pod()]) == []


def test_a_server_that_has_never_been_ready_is_not_reported() -> None:
    watch = PodWatch()
    assert watch.observe([A, B], [make_pod(ready=False)]) == []


def test_a_restart_by_kubernetes_is_reported() -> None:
    watch = PodWatch()
    watch.observe([A], [make_pod(crashes=1)])
    (event,) = watch.observe([A], [make_pod(crashes=2)])
    assert event.text == "was restarted by Kubernetes in Pod churn-r1 (2 restarts so far)"
    assert watch.observe([A], [make_pod(crashes=2)]) == []


def test_a_hung_stable_is_in_the_history_and_does_not_condemn_the_canary() -> None:
    cluster = SimulatedCluster(seed=3)
    cluster.make_champion(A, 1)
    cluster.servers[B] = SimulatedServer()
    cluster.request(B, 2)
    cluster.approve(B)
    control = cluster.controller()
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    cluster.servers[A].unready_since = cluster.now
    cluster.pass_time(1.0)
    cluster.run(control, until=lambda journal: journal.state.name == "step-1-diverted")
    for _ in range(20):
        cluster.tick(control)
    journal = cluster.journal.read()
    assert journal.state.name == "step-1-diverted", "the canary neither advances nor fails"
    assert (journal.champion, journal.weights) == (A, {A: 0, B: 100}), "traffic goes where it is answered"
    assert cluster.weights() == {B: 100}
    assert "stable has answered nobody for 5 s, and the canary answers" in journal.transitions[-1].reason
    assert [one.reason for one in journal.transitions].count("stable's server is not ready any more: its health check fails") == 1
    assert any("stable's server is not ready any more" in line for line in cluster.lines)
    cluster.servers[A].unready_since = None
    cluster.run(control, until=lambda journal: journal.state.name == "step-1")
    journal = cluster.journal.read()
    assert (journal.weights, journal.transitions[-1].reason) == ({A: 95, B: 5}, "stable answers again: back to 5 %")
    cluster.run(control, until=lambda journal: journal.champion == B)


def test_the_probes_find_a_server_that_hangs_within_ten_seconds_and_let_it_load_for_as_long_as_it_may() -> None:
    settings = make_settings()
    predictor = build_predictor(PackagedRelease(A, 1, f"churn@{A}"), settings, replicas=1)
    container = predictor["componentSpecs"][0]["spec"]["containers"][0]
    start, ready, live = (container[f"{name}Probe"] for name in ("startup", "readiness", "liveness"))
    for probe in (ready, live):  # the first probe after the server has stopped comes at most a period later
        assert probe["periodSeconds"] + probe["failureThreshold"] * max(probe["periodSeconds"], probe["timeoutSeconds"]) <= 10
        assert probe["failureThreshold"] > 1, "one slow answer is no reason"
        assert "initialDelaySeconds" not in probe, "the start has its own probe"
    assert live["terminationGracePeriodSeconds"] <= 2, "a process that has stopped does not react to SIGTERM"
    assert start["periodSeconds"] * start["failureThreshold"] >= settings.serving.start_timeout_seconds
    assert {probe["httpGet"]["path"] for probe in (start, ready, live)} == {"/health/status"}


def test_a_champion_that_answers_nobody_is_in_the_status_and_in_the_metrics() -> None:
    cluster, metrics = SimulatedCluster(seed=3), Metrics("churn")
    cluster.make_champion(A, 1)
    control = cluster.controller()
    platform = control.platform
    assert isinstance(platform, SeldonPlatform)

    def observe() -> dict[str, float]:
        cluster.tick(control)
        metrics.observe_status("idle", platform.status)
        text = generate_latest(metrics.registry).decode()
        found = re.findall(r'^sluice_rollout_(\w+)\{.*role="champion"\} (\S+)$', text, re.MULTILINE)
        return {name: float(value) for name, value in found if not name.endswith("created")}

    cluster.run(control, until=lambda _: any(one["pods"] for one in platform.status.get("servers", [])))
    assert observe() == {"ready_servers": 1, "server_losses_total": 0}
    cluster.servers[A].unready_since = cluster.now
    cluster.pass_time(1.0)
    assert observe() == {"ready_servers": 0, "server_losses_total": 1}
    assert observe() == {"ready_servers": 0, "server_losses_total": 1}, "one loss is counted once"
    (server,) = platform.status["servers"]
    assert (server["role"], server["ready"], server["pods"]) == ("champion", False, 0)
    assert server["waiting"]
    cluster.servers[A].unready_since = None
    cluster.pass_time(1.0)
    assert observe() == {"ready_servers": 1, "server_losses_total": 1}


def test_the_health_check_of_a_pod_that_has_started_says_why_it_is_not_ready() -> None:
    status = {"name": "model", "ready": False, "started": True, "restartCount": 0, "state": {"running": {}}}
    pod = {
        "metadata": {"uid": "u", "name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "model", "image": "i"}]},
        "status": {"conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [status]},
    }
    assert read_pod(pod).problem == "its health check fails"
    status["started"] = False
    assert not read_pod(pod).problem, "it is still starting"


@pytest.mark.parametrize(
    ("before", "after", "kind", "reason"),
    [
        ("step-1", "step-1", "Warning", "ServerChanged"),
        ("step-1", "step-1-diverted", "Warning", "Step1Diverted"),
        ("step-1-diverted", "step-1", "Normal", "Step1"),
        ("step-1", "rolled_back", "Warning", "RolledBack"),
        ("baking", "promoted", "Normal", "Promoted"),
    ],
)
def test_an_event_about_servers_is_a_warning(before: str, after: str, kind: str, reason: str) -> None:
    api = MemoryApi()
    transition = Transition(time=1.0, from_state=before, to_state=after, reason="why", release=A, decided_at=1.0)
    Events(api, "churn", "one").emit(transition)  # type: ignore[arg-type]
    (event,) = api.objects.values()
    assert (event["type"], event["reason"], event["message"]) == (kind, reason, f"{A[:19]}: why")


def test_a_change_by_hand_that_was_undone_is_a_warning_of_its_own() -> None:
    api = MemoryApi()
    text = "predictor r1-aaaaaaaa was changed by others; it was put right"
    Events(api, "churn", "one").warn("PutRight", text)  # type: ignore[arg-type]
    (event,) = api.objects.values()
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "PutRight", text)
    assert event["involvedObject"]["kind"] == "ModelRollout"
