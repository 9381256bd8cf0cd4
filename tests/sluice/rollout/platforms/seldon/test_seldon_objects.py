"""The objects that the controller writes and reads: predictors, routes, Pods, metrics, the journal and the lease."""

from __future__ import annotations

import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from memory_api import MemoryApi
from simulated_cluster import make_settings

from sluice.errors import DataError, ServiceError
from sluice.rollout.clocks import Clock
from sluice.rollout.decisions.evidence import Counts
from sluice.rollout.decisions.health import Health
from sluice.rollout.decisions.states import ChampionTerm, Journal, Phase, Request, State, Transition
from sluice.rollout.platforms.seldon.counters import executors
from sluice.rollout.platforms.seldon.counters.executors import Executors, read_counts
from sluice.rollout.platforms.seldon.leases.lease_locks import LeaseLock, is_fresh
from sluice.rollout.platforms.seldon.objects.predictors import (
    PackagedRelease,
    build_deployment,
    build_predictor,
    build_spec,
)
from sluice.rollout.platforms.seldon.objects.routes import build_routes, build_service_host, list_routed_hosts, read_weights
from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod, judge_health, read_pod
from sluice.rollout.platforms.seldon.resources.rollout_journals import SeldonJournal
from sluice.rollout.platforms.seldon.resources.rollout_statuses import MAX_JOURNAL_BYTES, dump_journal
from sluice.rollout.requests.release_references import match_release

if TYPE_CHECKING:
    from collections.abc import Iterator

A, B = (f"sha256:{letter * 64}" for letter in "ab")
RELEASE = PackagedRelease(B, 2, "registry.example/churn@sha256:" + "c" * 64)


def request(release: str = B, number: int = 2) -> Request:
    return Request(id="x", release=release, by="ann", at=1.0, steps=(5, 100), number=number, image=f"churn@{release}")


# Predictors


def test_a_predictor_is_named_by_its_release_and_declares_its_ports() -> None:
    predictor = build_predictor(RELEASE, make_settings(), replicas=2)
    assert predictor["name"] == "r2-bbbbbbbb"
    assert (predictor["traffic"], predictor["replicas"]) == (0, 2)
    container = predictor["componentSpecs"][0]["spec"]["containers"][0]
    assert container["name"] == predictor["graph"]["name"]
    assert {port["name"] for port in container["ports"]} == {"http", "grpc", "metrics"}
    assert container["image"] == RELEASE.image
    assert container["env"] == [
        {"name": "SLUICE_RELEASE_DIGEST", "value": B},
        {"name": "GUNICORN_WORKERS", "value": "2"},
        {"name": "SLUICE_START_SECONDS", "value": "120"},
        {"name": "SLUICE_SILENCE_SECONDS", "value": "8"},
        {"name": "SLUICE_KEEP_FAULTS", "value": "hidden"},
    ], "a server keeps no answered requests unless the shadow is on, and hides values"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/status"
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_no_annotation_of_a_pod_contains_an_equals_sign() -> None:
    """The executor would drop all annotations then, even its time limit."""
    settings = make_settings()
    deployment = build_deployment(settings, build_spec(settings), [build_predictor(RELEASE, settings, replicas=1)])
    values = [*deployment["spec"]["annotations"].values(), *deployment["spec"]["predictors"][0]["annotations"].values()]
    assert values
    assert not [value for value in values if "=" in value]


def test_requests_are_logged_only_if_a_url_is_set() -> None:
    settings = make_settings()
    assert "logger" not in build_predictor(RELEASE, settings, replicas=1)["graph"]
    wanted = settings.model_copy(update={"seldon": settings.seldon.model_copy(update={"request_log_url": "http://monitor"})})
    assert build_predictor(RELEASE, wanted, replicas=1)["graph"]["logger"] == {"mode": "all", "url": "http://monitor"}


# Routes


def service(*weights: int | None) -> dict[str, Any]:
    """Return a VirtualService as the operator writes it: routes for HTTP and gRPC, without weights of 0."""
    hosts = [build_service_host("churn", name, "prod") for name in ("r1", "r2", "r3")]

    def route(port: int) -> dict[str, Any]:
        return {
            "route": [
                {"destination": {"host": host, "port": {"number": port}}} | ({"weight": weight} if weight else {})
                for host, weight in zip(hosts, weights, strict=False)
            ]
        }

    return {"metadata": {"name": "churn"}, "spec": {"http": [route(8000), route(5001)]}}


HOSTS = {build_service_host("churn", "r1", "prod"): A, build_service_host("churn", "r2", "prod"): B}


def test_a_missing_weight_means_no_traffic_among_several_destinations_and_all_traffic_alone() -> None:
    assert read_weights(service(100, None), HOSTS) == {A: 100}
    assert read_weights(service(None), HOSTS) == {A: 100}
    assert read_weights(service(95, 5), HOSTS) == {A: 95, B: 5}


def test_routes_with_different_weights_give_no_weights() -> None:
    found = service(95, 5)
    found["spec"]["http"][1]["route"][0]["weight"] = 90
    found["spec"]["http"][1]["route"][1]["weight"] = 10
    assert read_weights(found, HOSTS) is None
    assert read_weights({"spec": {}}, HOSTS) is None


def test_weights_are_set_on_every_route_in_the_operator_s_form() -> None:
    routes = build_routes(
        service(95, 5), {build_service_host("churn", "r1", "prod"): 100, build_service_host("churn", "r2", "prod"): 0}
    )
    assert routes == service(100, None)["spec"]["http"]


def test_a_predictor_without_a_route_gets_no_weight() -> None:
    with pytest.raises(ValueError, match="has not routed to"):
        build_routes(service(100), {build_service_host("churn", "r2", "prod"): 5})
    assert list_routed_hosts(service(100)) == {build_service_host("churn", "r1", "prod")}


# Pods


def pod(**changes: Any) -> ServingPod:
    values = {
        "uid": "u", "name": "p", "release": B, "image": RELEASE.image, "ip": "10.0.0.1", "ready": False, "created_at": 0.0,
        "problem": "", "crashes": 0, "terminating": False,
    }  # fmt: skip
    return ServingPod(**(values | changes))


def judge(*pods: ServingPod, exposed: bool = False, routed: bool = True, now: float = 10.0) -> Health:
    return judge_health(pods, RELEASE, exposed=exposed, routed=routed, now=now, start_timeout_seconds=60.0)


def test_one_ready_pod_is_enough() -> None:
    assert judge(pod(), pod(ready=True)) == Health(ready=True, pods=1)


def test_every_pod_must_become_ready_until_the_routes_exist() -> None:
    """The operator writes no routes while one of two Pods does not start, so the rollout must say what it waits for."""
    pending = pod(uid="v", problem="Unschedulable: Insufficient cpu")
    assert judge(pod(ready=True), routed=False) == Health(waiting="the operator has not routed to it yet", pods=1)
    assert judge(pod(ready=True), pending, routed=False) == Health(
        waiting="1 of its 2 Pods: Unschedulable: Insufficient cpu", pods=1
    )
    assert "not ready within 60 s: Unschedulable" in judge(pod(ready=True), pending, routed=False, now=61.0).failure
    assert judge(pod(ready=True), pending, now=61.0) == Health(ready=True, pods=1), "it serves with one Pod less"
    assert judge(pod(ready=True), exposed=True, routed=False) == Health(pods=1)


def test_a_pod_of_another_image_or_release_does_not_count() -> None:
    assert not judge(pod(ready=True, image="another")).ready
    assert not judge(pod(ready=True, release=A)).ready
    assert not judge(pod(ready=True, terminating=True)).ready


def test_a_starting_pod_is_waited_for_until_the_time_limit() -> None:
    assert judge(pod()) == Health(waiting="it is not ready", pods=0)
    assert "not ready within 60 s" in judge(pod(problem="Unschedulable: no node"), now=61.0).failure


def test_a_first_crash_does_not_count_as_a_failure() -> None:
    assert not judge(pod(problem="CrashLoopBackOff: back-off", crashes=1)).failure
    assert judge(pod(problem="CrashLoopBackOff: back-off", crashes=3)).failure
    assert judge(pod(problem="ImagePullBackOff: not found")).failure


def test_a_canary_with_traffic_and_no_ready_pod_fails_at_once() -> None:
    assert "none of its Pods is ready" in judge(pod(), exposed=True).failure
    assert "it has no Pod" in judge(exposed=True).failure


def test_a_pod_is_read_from_the_api() -> None:
    found = read_pod(
        {
            "metadata": {"uid": "1", "name": "churn-r2", "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "x"},
            "spec": build_predictor(RELEASE, make_settings(), replicas=1)["componentSpecs"][0]["spec"],
            "status": {
                "podIP": "10.1.1.1",
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [
                    {
                        "name": "model",
                        "restartCount": 4,
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                        "lastState": {"terminated": {"exitCode": 3}},
                    }
                ],
            },
        }
    )
    assert (found.release, found.image, found.crashes, found.terminating) == (B, RELEASE.image, 4, True)
    assert found.problem == "CrashLoopBackOff: back-off (it ended with code 3)"


# Metrics


def metrics(*, fast: int | None = None, **counts: int) -> str:
    """Return the metrics of one executor. `fast` of its answers 200 took half a second at most; by default, all did."""
    name = "seldon_api_executor_server_requests_seconds"
    lines = [f"# TYPE {name} histogram"]
    for code, n in counts.items():
        labels = f'code="{code.removeprefix("c")}",method="post",service="predictions"'
        below = n if fast is None or code != "c200" else fast
        lines += [f'{name}_bucket{{{labels},le="0.5"}} {below}', f'{name}_bucket{{{labels},le="+Inf"}} {n}']
        lines += [f"{name}_count{{{labels}}} {n}"]
    lines += [f'{name}_count{{code="500",method="get",service="status"}} 999']
    lines += [f'{name}_summary_count{{code="200",service="predictions"}} 999']
    return "\n".join(lines) + "\n"


def test_only_5xx_of_predictions_count_as_errors_and_rejected_requests_count_apart() -> None:
    assert read_counts(metrics(c200=90, c400=4, c404=3, c500=2, c503=1)) == Counts(93, 3, 93, 0, rejected=7)
    assert read_counts("") == Counts(0, 0)
    with pytest.raises(ValueError, match=r".+"):
        read_counts("<html>not found</html>")


def test_answers_above_the_bound_count_as_slow() -> None:
    assert read_counts(metrics(c200=90, fast=80, c500=10)) == Counts(100, 10, 100, 10)


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Run an executor whose answer a test sets."""
    response = {"text": "", "status": "200"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(response["status"]))
            self.end_headers()
            self.wfile.write(response["text"].encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(executors, "PORT", server.server_port)
    yield response
    server.shutdown()
    server.server_close()


def test_counts_begin_at_the_first_reading_and_continue_after_a_restart(executor: dict[str, str]) -> None:
    found, serving = Executors(), [pod(ip="127.0.0.1", ready=True)]
    executor["text"] = metrics(c200=1000, c500=50)
    assert found.read(serving, 100.0) == {B: Counts(0, 0)}
    executor["text"] = metrics(c200=1010, c500=51)
    assert found.read(serving, 101.0) == {B: Counts(11, 1, 11)}
    executor["text"] = metrics(c200=5)
    assert found.read(serving, 102.0) == {B: Counts(16, 1, 16)}, "the executor was restarted"
    newcomer = pod(ip="127.0.0.1", ready=True, uid="v", created_at=101.0)
    assert found.read([*serving, newcomer], 103.0) == {B: Counts(21, 1, 21)}, "a new Pod counts from its start"
    found.close()


def test_a_ready_pod_that_does_not_answer_is_an_error_and_a_starting_one_is_not(executor: dict[str, str]) -> None:
    found = Executors()
    executor["text"] = metrics(c200=10)
    found.read([pod(ip="127.0.0.1", ready=True)], 100.0)
    executor["status"] = "503"
    with pytest.raises(ServiceError, match="cannot be read"):
        found.read([pod(ip="127.0.0.1", ready=True)], 101.0)
    assert found.read([pod(ip="127.0.0.1"), pod(ip="127.0.0.1", ready=True, terminating=True, uid="w")], 102.0) == {
        B: Counts(0, 0)
    }
    executor["status"], executor["text"] = "200", metrics(c200=14)
    assert found.read([pod(ip="127.0.0.1", ready=True)], 103.0) == {B: Counts(4, 0, 4)}, "the next reading counts what was missed"
    found.close()


# The journal and the lease


def test_a_journal_fits_an_object_and_keeps_its_latest_transitions() -> None:
    transition = Transition(time=1.0, from_state="a", to_state="b", reason="x" * 4000, decided_at=1.0, weights={A: 100})
    transitions = tuple(dataclasses.replace(transition, time=float(number)) for number in range(200))
    text = dump_journal(Journal(transitions=transitions, history=(ChampionTerm(release=A, by="ann", at=1.0),)))
    assert len(text) <= MAX_JOURNAL_BYTES
    document = json.loads(text)
    assert document["transitions"][-1]["time"] == 199.0
    assert document["champion"] == A


def test_the_error_names_a_status_that_has_no_journal_in_it() -> None:
    journal = SeldonJournal(MemoryApi(), make_settings())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="not a rollout journal"):
        journal.parse({"metadata": {"name": "churn"}, "status": {"journal": "{"}})


def test_a_lease_is_acquired_renewed_and_released() -> None:
    now = [1000.0]
    clock = Clock(now=lambda: now[0], steady=lambda: now[0])
    cluster: Any = MemoryApi()
    one = LeaseLock(cluster, "churn-rollout", "one", 15.0, clock=clock)
    two = LeaseLock(cluster, "churn-rollout", "two", 15.0, clock=clock)
    assert one.acquire({})
    assert (one.epoch, one.is_held) == (1, True)
    assert not two.acquire({})
    now[0] += 10
    assert not one.is_held, "it stops well before another controller may acquire the lease"
    assert one.acquire({"sluice.dev/status": "{}"})
    now[0] += 14
    assert not two.acquire({})
    now[0] += 2
    assert not two.acquire({}), "the lease was renewed since the last look"
    now[0] += 15
    assert two.acquire({})
    assert (two.epoch, two.annotations) == (2, {"sluice.dev/status": "{}"})
    assert not one.acquire({})
    two.release()
    assert one.acquire({})
    assert one.epoch == 3


def test_a_lease_counts_as_held_for_twice_its_duration() -> None:
    lease = {"spec": {"holderIdentity": "one", "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 15}}
    renewed = 1767225600.0
    assert is_fresh(lease, renewed + 29)
    assert not is_fresh(lease, renewed + 31)
    assert not is_fresh({"spec": {"holderIdentity": ""}}, renewed)


# Names


def test_a_release_is_found_by_each_form_of_reference() -> None:
    journal = Journal(
        history=(ChampionTerm(release=A, by="ann", at=1.0, number=1),), request=request(), state=State(phase=Phase.AWAITING_READY)
    )
    for ref in ("champion", "1", "release-1", A, A[:15], "aaaaaa"):
        assert match_release(journal, ref).digest == A  # type: ignore[union-attr]
    assert match_release(journal, "2").digest == B  # type: ignore[union-attr]
    for ref in ("previous", "3", "aaaa", "cccccc"):
        assert match_release(journal, ref) is None
