"""What is written to a cluster and read from it: predictors, routes, Pods, metrics, the journal's size."""

from __future__ import annotations

import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from seldon_world import MemoryCluster, make_settings

from sluice.errors import DataError, ServiceError
from sluice.rollout.clocks import Clock
from sluice.rollout.decisions.evidence import Counts
from sluice.rollout.decisions.health import Health
from sluice.rollout.decisions.states import ChampionTerm, Journal, Phase, Request, State, Transition
from sluice.rollout.platforms.seldon import executors
from sluice.rollout.platforms.seldon.executors import Executors, read_counts
from sluice.rollout.platforms.seldon.journal_annotations import MAX_JOURNAL_BYTES, SeldonJournal, dump_journal
from sluice.rollout.platforms.seldon.leases import LeaseLock, is_fresh
from sluice.rollout.platforms.seldon.objects.predictors import (
    PackagedRelease,
    build_deployment,
    build_predictor,
    build_predictors,
    read_predictor_digest,
)
from sluice.rollout.platforms.seldon.objects.routes import build_service_host, list_routed_hosts, build_routes, read_weights
from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod, judge_health, read_pod
from sluice.rollout.platforms.seldon.request_annotations import JOURNAL_ANNOTATION
from sluice.rollout.requests.release_references import match_release

if TYPE_CHECKING:
    from collections.abc import Iterator

A, B = (f"sha256:{letter * 64}" for letter in "ab")
RELEASE = PackagedRelease(B, 2, "registry.example/churn@sha256:" + "c" * 64)


def request(release: str = B, number: int = 2) -> Request:
    return Request(id="x", release=release, by="ann", at=1.0, steps=(5, 100), number=number, image=f"churn@{release}")


# -- predictors -----------------------------------------------------------------------------------------------------------


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
    ], "no user's request is kept unless a shadow is wanted"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/status"
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_no_annotation_of_a_pod_holds_an_equals_sign() -> None:
    """The executor then drops all of them, its time limit too."""
    settings = make_settings()
    deployment = build_deployment(settings, [build_predictor(RELEASE, settings, replicas=1)])
    values = [*deployment["spec"]["annotations"].values(), *deployment["spec"]["predictors"][0]["annotations"].values()]
    assert values
    assert not [value for value in values if "=" in value]


def test_requests_are_logged_where_that_is_wanted() -> None:
    settings = make_settings()
    assert "logger" not in build_predictor(RELEASE, settings, replicas=1)["graph"]
    wanted = settings.model_copy(update={"seldon": settings.seldon.model_copy(update={"request_log_url": "http://monitor"})})
    assert build_predictor(RELEASE, wanted, replicas=1)["graph"]["logger"] == {"mode": "all", "url": "http://monitor"}


def test_a_predictor_that_is_not_there_is_added_behind_the_others() -> None:
    settings = make_settings()
    journal = Journal(
        history=(ChampionTerm(release=A, by="ann", at=1.0, number=1, image="churn@a"),), request=request(), weights={A: 100}
    )
    live = build_predictors([], dataclasses.replace(journal, request=None), settings)
    planned = build_predictors(live, journal, settings)
    assert [read_predictor_digest(one) for one in planned] == [A, B]
    assert [one["traffic"] for one in planned] == [100, 0]
    assert build_predictors(planned, journal, settings) == planned


# -- routes ---------------------------------------------------------------------------------------------------------------


def service(*weights: int | None) -> dict[str, Any]:
    """As the operator writes it: one route for HTTP and one for gRPC, a weight of 0 left out."""
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


def test_no_weight_is_nothing_among_several_and_all_alone() -> None:
    assert read_weights(service(100, None), HOSTS) == {A: 100}
    assert read_weights(service(None), HOSTS) == {A: 100}
    assert read_weights(service(95, 5), HOSTS) == {A: 95, B: 5}


def test_routes_that_disagree_are_no_answer() -> None:
    found = service(95, 5)
    found["spec"]["http"][1]["route"][0]["weight"] = 90
    found["spec"]["http"][1]["route"][1]["weight"] = 10
    assert read_weights(found, HOSTS) is None
    assert read_weights({"spec": {}}, HOSTS) is None


def test_weights_are_set_on_every_route_and_written_as_the_operator_does() -> None:
    routes = build_routes(service(95, 5), {build_service_host("churn", "r1", "prod"): 100, build_service_host("churn", "r2", "prod"): 0})
    assert routes == service(100, None)["spec"]["http"]


def test_who_has_no_route_gets_no_weight() -> None:
    with pytest.raises(ValueError, match="has not routed to"):
        build_routes(service(100), {build_service_host("churn", "r2", "prod"): 5})
    assert list_routed_hosts(service(100)) == {build_service_host("churn", "r1", "prod")}


# -- Pods -----------------------------------------------------------------------------------------------------------------


def pod(**changes: Any) -> ServingPod:
    values = {
        "uid": "u", "name": "p", "release": B, "image": RELEASE.image, "ip": "10.0.0.1", "ready": False, "since": 0.0,
        "trouble": "", "crashes": 0, "leaving": False,
    }  # fmt: skip
    return ServingPod(**(values | changes))


def judge(*pods: ServingPod, exposed: bool = False, routed: bool = True, now: float = 10.0) -> Health:
    return judge_health(pods, RELEASE, exposed=exposed, routed=routed, now=now, start_timeout_seconds=60.0)


def test_one_ready_pod_is_enough() -> None:
    assert judge(pod(), pod(ready=True)) == Health(ready=True)


def test_until_it_is_routed_to_every_pod_must_become_ready() -> None:
    """The operator writes no routes while one of two does not start: the rollout waited for its deadline, and did not say why."""
    pending = pod(uid="v", trouble="Unschedulable: Insufficient cpu")
    assert judge(pod(ready=True), routed=False) == Health(waiting="the operator has not routed to it yet")
    assert judge(pod(ready=True), pending, routed=False) == Health(waiting="1 of its 2 Pods: Unschedulable: Insufficient cpu")
    assert "not ready within 60 s: Unschedulable" in judge(pod(ready=True), pending, routed=False, now=61.0).failure
    assert judge(pod(ready=True), pending, now=61.0) == Health(ready=True), "it serves, with one Pod less"
    assert judge(pod(ready=True), exposed=True, routed=False) == Health()


def test_a_pod_of_another_image_or_release_does_not_count() -> None:
    assert not judge(pod(ready=True, image="another")).ready
    assert not judge(pod(ready=True, release=A)).ready
    assert not judge(pod(ready=True, leaving=True)).ready


def test_a_starting_pod_is_waited_for_and_not_for_ever() -> None:
    assert judge(pod()) == Health(waiting="it is not ready")
    assert "not ready within 60 s" in judge(pod(trouble="Unschedulable: no node"), now=61.0).failure


def test_a_first_crash_is_not_yet_a_loop() -> None:
    assert not judge(pod(trouble="CrashLoopBackOff: back-off", crashes=1)).failure
    assert judge(pod(trouble="CrashLoopBackOff: back-off", crashes=3)).failure
    assert judge(pod(trouble="ImagePullBackOff: not found")).failure


def test_a_canary_with_traffic_and_no_ready_pod_is_given_up_at_once() -> None:
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
    assert (found.release, found.image, found.crashes, found.leaving) == (B, RELEASE.image, 4, True)
    assert found.trouble == "CrashLoopBackOff: back-off (it ended with code 3)"


# -- metrics --------------------------------------------------------------------------------------------------------------


def metrics(*, quick: int | None = None, **counts: int) -> str:
    """One executor's text; `quick` of the answers with code 200 took half a second at most, by default all."""
    name = "seldon_api_executor_server_requests_seconds"
    lines = [f"# TYPE {name} histogram"]
    for code, n in counts.items():
        labels = f'code="{code.removeprefix("c")}",method="post",service="predictions"'
        below = n if quick is None or code != "c200" else quick
        lines += [f'{name}_bucket{{{labels},le="0.5"}} {below}', f'{name}_bucket{{{labels},le="+Inf"}} {n}']
        lines += [f"{name}_count{{{labels}}} {n}"]
    lines += [f'{name}_count{{code="500",method="get",service="status"}} 999']
    lines += [f'{name}_summary_count{{code="200",service="predictions"}} 999']
    return "\n".join(lines) + "\n"


def test_errors_are_5xx_and_400_of_predictions_alone() -> None:
    assert read_counts(metrics(c200=90, c400=4, c404=3, c500=2, c503=1)) == Counts(100, 7, 100, 0)
    assert read_counts("") == Counts(0, 0)
    with pytest.raises(ValueError, match=r".+"):
        read_counts("<html>not found</html>")


def test_what_took_longer_than_the_bound_is_slow() -> None:
    assert read_counts(metrics(c200=90, quick=80, c500=10)) == Counts(100, 10, 100, 10)


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """One executor, whose answer a test writes."""
    said = {"text": "", "status": "200"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(int(said["status"]))
            self.end_headers()
            self.wfile.write(said["text"].encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(executors, "PORT", server.server_port)
    yield said
    server.shutdown()
    server.server_close()


def test_what_was_counted_before_the_first_look_is_no_growth_and_a_restart_counts_from_zero(executor: dict[str, str]) -> None:
    found, serving = Executors(), [pod(ip="127.0.0.1", ready=True)]
    executor["text"] = metrics(c200=1000, c500=50)
    assert found.read(serving, 100.0) == {B: Counts(0, 0)}
    executor["text"] = metrics(c200=1010, c500=51)
    assert found.read(serving, 101.0) == {B: Counts(11, 1, 11)}
    executor["text"] = metrics(c200=5)
    assert found.read(serving, 102.0) == {B: Counts(16, 1, 16)}, "the executor was restarted"
    newcomer = pod(ip="127.0.0.1", ready=True, uid="v", since=101.0)
    assert found.read([*serving, newcomer], 103.0) == {B: Counts(21, 1, 21)}, "a Pod that is new counts from its start"
    found.close()


def test_a_ready_pod_that_is_silent_stops_the_counting_and_a_starting_one_does_not(executor: dict[str, str]) -> None:
    found = Executors()
    executor["text"] = metrics(c200=10)
    found.read([pod(ip="127.0.0.1", ready=True)], 100.0)
    executor["status"] = "503"
    with pytest.raises(ServiceError, match="cannot be read"):
        found.read([pod(ip="127.0.0.1", ready=True)], 101.0)
    assert found.read([pod(ip="127.0.0.1"), pod(ip="127.0.0.1", ready=True, leaving=True, uid="w")], 102.0) == {B: Counts(0, 0)}
    executor["status"], executor["text"] = "200", metrics(c200=14)
    assert found.read([pod(ip="127.0.0.1", ready=True)], 103.0) == {B: Counts(4, 0, 4)}, "the next time covers what was missed"
    found.close()


# -- the journal and the lease --------------------------------------------------------------------------------------------


def test_a_journal_fits_an_annotation_and_its_latest_transitions_stay() -> None:
    transition = Transition(time=1.0, from_state="a", to_state="b", reason="x" * 2000, decided_at=1.0, weights={A: 100})
    transitions = tuple(dataclasses.replace(transition, time=float(number)) for number in range(200))
    text = dump_journal(Journal(transitions=transitions, history=(ChampionTerm(release=A, by="ann", at=1.0),)))
    assert len(text) <= MAX_JOURNAL_BYTES
    assert json.loads(text)["transitions"][-1]["time"] == 199.0
    assert json.loads(text)["champion"] == A


def test_an_annotation_that_is_no_journal_is_named() -> None:
    journal = SeldonJournal(MemoryCluster(), make_settings())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no rollout journal"):
        journal.parse({"metadata": {"annotations": {JOURNAL_ANNOTATION: "{"}}})


def test_a_lease_is_taken_renewed_and_left() -> None:
    now = [1000.0]
    clock = Clock(now=lambda: now[0], steady=lambda: now[0])
    cluster: Any = MemoryCluster()
    one = LeaseLock(cluster, "churn-rollout", "one", 15.0, clock=clock)
    two = LeaseLock(cluster, "churn-rollout", "two", 15.0, clock=clock)
    assert one.hold({})
    assert (one.epoch, one.held) == (1, True)
    assert not two.hold({})
    now[0] += 10
    assert not one.held, "it stops well before another may take it"
    assert one.hold({"sluice.dev/status": "{}"})
    now[0] += 14
    assert not two.hold({})
    now[0] += 2
    assert not two.hold({}), "renewed since it looked"
    now[0] += 15
    assert two.hold({})
    assert (two.epoch, two.annotations) == (2, {"sluice.dev/status": "{}"})
    assert not one.hold({})
    two.release()
    assert one.hold({})
    assert one.epoch == 3


def test_a_lease_is_fresh_for_twice_its_time() -> None:
    lease = {"spec": {"holderIdentity": "one", "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 15}}
    renewed = 1767225600.0
    assert is_fresh(lease, renewed + 29)
    assert not is_fresh(lease, renewed + 31)
    assert not is_fresh({"spec": {"holderIdentity": ""}}, renewed)


# -- names ----------------------------------------------------------------------------------------------------------------


def test_a_release_is_found_by_what_people_call_it() -> None:
    journal = Journal(
        history=(ChampionTerm(release=A, by="ann", at=1.0, number=1),), request=request(), state=State(phase=Phase.AWAITING_READY)
    )
    for ref in ("champion", "1", "release-1", A, A[:15], "aaaaaa"):
        assert match_release(journal, ref).digest == A  # type: ignore[union-attr]
    assert match_release(journal, "2").digest == B  # type: ignore[union-attr]
    for ref in ("previous", "3", "aaaa", "cccccc"):
        assert match_release(journal, ref) is None
