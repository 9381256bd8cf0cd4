"""The controller in the simulated cluster, when a server hangs: Kubernetes restarts it, and the controller reports it."""

from __future__ import annotations

from simulated_cluster import SimulatedCluster, SimulatedServer, make_settings

from sluice.rollout.platforms.seldon.objects.pod_watches import PodWatch
from sluice.rollout.platforms.seldon.objects.predictors import PackagedRelease, build_predictor
from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod

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
    for _ in range(20):
        cluster.tick(control)
    journal = cluster.journal.read()
    assert journal.state.name == "step-1", "the canary neither advances nor fails"
    assert [one.reason for one in journal.transitions].count("stable's server is not ready any more: its health check fails") == 1
    assert any("stable's server is not ready any more" in line for line in cluster.lines)
    cluster.servers[A].unready_since = None
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
