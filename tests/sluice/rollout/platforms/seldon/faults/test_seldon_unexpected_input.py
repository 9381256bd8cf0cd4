"""The controller in the simulated cluster, with unexpected settings, requests, objects and errors."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from memory_api import NAMESPACE
from seldon_canaries import QUICK, A, B, ended, make_cluster, reach
from simulated_cluster import NAME, SimulatedCluster, SimulatedServer, make_settings

from sluice.errors import ServiceError
from sluice.rollout.decisions.shadow_comparisons import NO_COMPARISON
from sluice.rollout.decisions.states import Command, CommandKind, Journal, Phase
from sluice.rollout.journals import ConflictError, build_document
from sluice.rollout.platforms.seldon import metrics_server
from sluice.rollout.platforms.seldon.api import LEASE, MODEL_ROLLOUT, SELDON_DEPLOYMENT, VIRTUAL_SERVICE, Cluster
from sluice.rollout.platforms.seldon.controller import _read_account, _run_rounds
from sluice.rollout.platforms.seldon.metrics_server import serve_metrics
from sluice.rollout.platforms.seldon.objects.epochs import EPOCH_ANNOTATION
from sluice.rollout.platforms.seldon.objects.serving_pods import read_pod
from sluice.rollout.platforms.seldon.resources.rollout_specs import accept_spec
from sluice.rollout.platforms.seldon.telemetry import Metrics

if TYPE_CHECKING:
    from sluice.rollout.decisions.shadow_comparisons import Comparison


def test_a_rollout_continues_if_its_shadow_is_switched_off() -> None:
    cluster = make_cluster(SimulatedServer(difference=0.1), approved=True, shadow_requests=1000)
    reach(cluster, Phase.SHADOW)
    cluster.settings = make_settings(**QUICK)
    cluster.now += 20
    journal = cluster.run(cluster.controller("three"), until=ended)
    assert journal.champion == B
    assert "no shadow: it was switched off" in [one.reason for one in journal.transitions]


def test_the_shadow_asks_the_servers_because_executors_count_its_requests() -> None:
    cluster = make_cluster(approved=True, shadow_requests=100)
    polled = []

    class RecordingShadow:
        def poll(self, _rollout: str, champions: list[str], canary: str) -> Comparison:
            polled.append((champions, canary))
            return NO_COMPARISON

        def close(self) -> None:
            pass

    control = cluster.controller("two")
    control.shadow = RecordingShadow()
    cluster.run(control, until=lambda journal: journal.state.phase is Phase.SHADOW)
    for _ in range(3):
        cluster.tick(control)
    assert polled[-1] == (["http://10.0.0.1:9000"], "http://10.0.0.1:9000")


def test_a_rollback_does_not_need_approvals_that_cannot_be_read() -> None:
    cluster = make_cluster(approved=True)
    control = reach(cluster, Phase.STEP)

    def before(verb: str, plural: str, _name: str) -> None:
        if (verb, plural) == ("list", "rolloutapprovals"):
            raise ServiceError("rolloutapprovals is forbidden")

    cluster.api.before = before
    for _ in range(60):
        cluster.tick(control)
    assert cluster.weights() == {A: 95, B: 5}, "no canary advances without approvals"
    assert "forbidden" in control.platform.status["trouble"]
    cluster.servers[B].error_rate = 1.0
    for _ in range(10):
        cluster.tick(control)
    assert cluster.weights() == {A: 100}


SOUND_RELEASE = {"digest": B, "image": f"churn@{B}", "number": 2}
SOUND = {"release": SOUND_RELEASE, "steps": [5, 25, 100], "requestedBy": "mallory"}


@pytest.mark.parametrize(
    "strange",
    [
        {"steps": []},
        {"steps": [5, 25]},
        {"steps": [150, 100]},
        {"steps": [-5, 100]},
        {"steps": "all"},
        {"requestedBy": ""},
        {"requestedBy": None},
        {"release": None},
        {"release": SOUND_RELEASE | {"number": -5}},
        {"release": SOUND_RELEASE | {"number": 10**45}},
        {"release": SOUND_RELEASE | {"number": math.nan}},
        {"release": SOUND_RELEASE | {"digest": "sha256:é"}},
        {"release": SOUND_RELEASE | {"image": "churn:latest"}},
        {"release": SOUND_RELEASE | {"ledgerHead": "the head"}},
        {"again": "x" * 70_000},
    ],
)
def test_a_request_that_the_schema_refuses_is_ignored(strange: dict[str, Any]) -> None:
    """An installed schema may be an older one, so the controller does not rely on it."""
    cluster = SimulatedCluster(make_settings(**QUICK))
    cluster.make_champion(A, 1)
    cluster.servers[B] = SimulatedServer()
    cluster.now += 20
    for spec, taken in ((SOUND | strange, False), (SOUND, True)):
        assert (accept_spec(Journal(), spec, now=cluster.now).request is not None) is taken
    cluster.api.merge(MODEL_ROLLOUT, NAME, {"spec": SOUND | strange}, manager="m")
    cluster.approve(B)
    control = cluster.controller("two")
    for _ in range(30):
        cluster.tick(control)
    assert cluster.weights() == {A: 100}


@pytest.mark.parametrize(
    "strange", [{"id": ""}, {"id": 7}, {"by": "x" * 70_000}, {"target": "nowhere"}, {"kind": "promote"}, {"kind": "ROLLBACK"}]
)
def test_a_command_that_the_schema_refuses_is_ignored(strange: dict[str, Any]) -> None:
    cluster = make_cluster(approved=True)
    control = reach(cluster, Phase.STEP)
    command = {"id": "1", "kind": "abort", "by": "x", **strange}
    cluster.api.merge(MODEL_ROLLOUT, NAME, {"spec": {"command": command}}, manager="m")
    before = len(cluster.journal.read().transitions)
    cluster.tick(control)
    assert cluster.weights() == {A: 95, B: 5}
    assert len(cluster.journal.read().transitions) == before
    cluster.servers[B].error_rate = 1.0
    assert cluster.run(control, until=ended, max_rounds=20).champion == A


def test_a_command_does_not_replace_one_of_higher_precedence() -> None:
    waiting = Command(id="1", kind=CommandKind.ROLLBACK, by="kim", at=1.0, target=A)
    journal = accept_spec(Journal(command=waiting), {"command": {"id": "2", "kind": "abort", "by": "x"}}, now=2.0)
    assert journal.command == waiting
    done = dataclasses.replace(journal, command=None)
    assert accept_spec(done, {"command": {"id": "2", "kind": "abort", "by": "x"}}, now=3.0) == done, "it was left aside for good"


def test_the_times_of_a_request_and_a_command_are_those_of_the_first_round_that_saw_them() -> None:
    """A requester's clock has no effect: the deadline counts from the controller's acceptance, which is written at once."""
    cluster = make_cluster()
    control = cluster.controller("two")
    while not cluster.tick(control):  # until it has the lease
        pass
    accepted = cluster.journal.read().request
    assert accepted is not None
    for _ in range(5):
        cluster.tick(control)
    assert cluster.journal.read().request == accepted
    assert accepted.at < cluster.now


def test_a_journal_in_the_annotations_is_taken_over_once() -> None:
    cluster = SimulatedCluster(make_settings(**QUICK))
    cluster.make_champion(A, 1)
    journal = dataclasses.replace(cluster.journal.read(), approvals=())
    deployment = cluster.api.objects[SELDON_DEPLOYMENT.plural, NAME]
    text = json.dumps(build_document(journal))
    deployment["metadata"]["annotations"] |= {"sluice.dev/journal": text, "sluice.dev/request": "{}", "other": "stays"}
    del cluster.api.objects[MODEL_ROLLOUT.plural, NAME]
    cluster.now += 20
    control = cluster.controller("two")
    while not cluster.tick(control):  # until it has the lease
        pass
    assert (cluster.journal.read().champion, cluster.weights()) == (A, {A: 100})
    assert cluster.journal.read().history == journal.history
    annotations = cluster.api.objects[SELDON_DEPLOYMENT.plural, NAME]["metadata"]["annotations"]
    assert {name for name in annotations if name != EPOCH_ANNOTATION} == {"other"}
    cluster.servers[B] = SimulatedServer()
    cluster.request(B, 2)
    cluster.approve(B)
    assert cluster.run(control, until=ended).champion == B


def test_a_promotion_waits_while_approvals_cannot_be_read() -> None:
    cluster = make_cluster(approved=True, bake_seconds=60.0)
    control = reach(cluster, Phase.STEP)
    cluster.command(CommandKind.PROMOTE)

    def before(verb: str, plural: str, _name: str) -> None:
        if (verb, plural) == ("list", "rolloutapprovals"):
            raise ServiceError("away")

    cluster.api.before = before
    cluster.tick(control)
    assert cluster.weights() == {A: 95, B: 5}
    cluster.api.before = lambda *_: None
    cluster.tick(control)
    assert cluster.weights() == {A: 5, B: 95}


def test_a_pod_that_was_evicted_does_not_count() -> None:
    cluster = make_cluster()
    reach(cluster, Phase.AWAITING_APPROVAL)
    ((_, found),) = [(key, one) for key, one in cluster.api.objects.items() if key[0] == "pods" and "r2" in key[1]]
    assert not read_pod(found).terminating
    for phase in ("Failed", "Succeeded"):
        assert read_pod({**found, "status": {**found["status"], "phase": phase}}).terminating


@pytest.mark.parametrize("epoch", ["x", "", "57", "999999999", "9" * 40, "-1"])
def test_a_controller_acts_whatever_epoch_the_objects_carry(epoch: str) -> None:
    """A lease that was created again counts from 1, while a SeldonDeployment that was restored carries its earlier epoch."""
    cluster = make_cluster(approved=True)
    reach(cluster, Phase.STEP)
    del cluster.api.objects[LEASE.plural, "churn-rollout"]
    for kind in (SELDON_DEPLOYMENT, VIRTUAL_SERVICE):
        annotations = cluster.api.objects[kind.plural, NAME]["metadata"].setdefault("annotations", {})
        annotations[EPOCH_ANNOTATION] = epoch
    cluster.servers[B].error_rate = 1.0
    assert cluster.run(cluster.controller("three"), until=ended, max_rounds=60).champion == A


def test_a_short_unreadiness_after_a_long_wait_does_not_end_the_rollout() -> None:
    cluster = make_cluster()
    control = reach(cluster, Phase.AWAITING_APPROVAL)
    for _ in range(300):
        cluster.tick(control)
    cluster.servers[B].unready_since = cluster.now
    cluster._run_pods()
    for _ in range(3):
        cluster.tick(control)
    assert cluster.journal.read().state.phase is Phase.AWAITING_APPROVAL
    cluster.servers[B].unready_since = None
    cluster.approve(B)
    assert cluster.run(control, until=ended).champion == B


def test_a_canary_that_does_not_become_ready_again_ends_its_rollout() -> None:
    cluster = make_cluster()
    control = reach(cluster, Phase.AWAITING_APPROVAL)
    cluster.servers[B].unready_since = cluster.now
    journal = cluster.run(control, until=ended)
    assert "not ready within 120 s" in journal.rollouts[-1].reason


def test_an_earlier_controller_does_not_write_over_its_successor_s_journal() -> None:
    cluster = make_cluster(approved=True)
    control = reach(cluster, Phase.STEP)
    epoch = control.platform.lock.epoch
    cluster.journal.update(lambda journal: dataclasses.replace(journal, last_command_at=1.0), epoch=epoch + 1)
    with pytest.raises(ConflictError, match="taken over"):
        cluster.journal.update(lambda journal: dataclasses.replace(journal, last_command_at=2.0), epoch=epoch)
    assert cluster.journal.read().last_command_at == 1.0


def test_a_predictor_without_its_annotation_is_identified_by_its_server() -> None:
    cluster = make_cluster(approved=True)
    control = reach(cluster, Phase.STEP)
    for predictor in cluster.api.objects[SELDON_DEPLOYMENT.plural, NAME]["spec"]["predictors"]:
        predictor["annotations"].clear()
    for _ in range(3):
        cluster.tick(control)
    assert cluster.weights() == {A: 95, B: 5}
    assert cluster.lost == 0
    assert cluster.run(control, until=ended).champion == B


def test_weights_are_not_written_while_a_predictor_is_missing() -> None:
    """If a predictor is missing, the other one must not get all of the traffic."""
    cluster = make_cluster(approved=True)
    control = reach(cluster, Phase.STEP)
    written: list[object] = []
    predictors = cluster.api.objects[SELDON_DEPLOYMENT.plural, NAME]["spec"]["predictors"]
    cluster.api.before = lambda verb, plural, _name: written.append(verb) if plural == VIRTUAL_SERVICE.plural else None
    cluster.operator_works = False
    removed = predictors.pop(0)
    control.run_round()
    assert "patch" not in written
    assert removed["name"] in {one["name"] for one in cluster.predictors()}, "the predictor is added again"


def test_a_controller_waits_for_an_api_server_that_does_not_answer() -> None:
    answers: list[str | ServiceError] = [ServiceError("away"), ServiceError("away"), "controller"]
    stopping, lines = threading.Event(), list[str]()
    stopping.wait = lambda _seconds=None: False  # type: ignore[method-assign]

    class UnreachableCluster:
        def whoami(self) -> str:
            found = answers.pop(0)
            if isinstance(found, ServiceError):
                raise found
            return found

    assert _read_account(UnreachableCluster(), Metrics(NAME), stopping, lines.append) == "controller"  # type: ignore[arg-type]
    assert lines == ["problem: away"]


def test_after_any_error_the_next_round_runs() -> None:
    stopping, wake, lines = threading.Event(), threading.Event(), list[str]()
    wake.wait = lambda _seconds=None: True  # type: ignore[method-assign]
    rounds: list[Exception] = [ValueError("what others wrote"), ServiceError("away")]

    class FailingLoop:
        settings = make_settings()
        status: dict[str, Any] = {}  # noqa: RUF012

        def run_round(self) -> bool:
            if rounds:
                raise rounds.pop(0)
            stopping.set()
            return True

    loop = FailingLoop()
    _run_rounds(loop, loop, Metrics(NAME), stopping, wake, lines.append)  # type: ignore[arg-type]
    assert lines == ["problem: ValueError: what others wrote", "problem: away"]


def test_the_health_check_fails_while_the_controller_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics(NAME)
    with serve_metrics(metrics, 0, lambda _line: None) as port:

        def get(path: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        metrics.observe_round(0.1, "failed")
        assert get("/healthz")[0] == 200
        assert "sluice_controller_rounds_total" in get("/metrics")[1]
        monkeypatch.setattr(metrics_server, "STALLED_SECONDS", 0.0)
        assert get("/healthz")[0] == 503
        assert get("/metrics")[0] == 200


def test_a_refused_watch_is_a_service_error() -> None:
    """Otherwise the watching thread ends for good if the Role is bound a moment after the controller has started."""
    from kubernetes.client import ApiClient, Configuration

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"kind": "Status", "message": "cannot watch"}).encode()
            self.send_response(403)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        cluster = Cluster(ApiClient(Configuration(host=f"http://127.0.0.1:{server.server_port}")), NAMESPACE)
        with pytest.raises(ServiceError, match=r"refused GET .*cannot watch"):
            next(iter(cluster.watch(SELDON_DEPLOYMENT, NAME, 1)))
    finally:
        server.shutdown()
        server.server_close()
