"""The controller in a cluster in memory, among people, settings and objects that do what nobody planned for."""

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
from seldon_canaries import QUICK, A, B, ended, make_world, reach
from seldon_world import NAME, NAMESPACE, SeldonWorld, Server, make_settings

from sluice.errors import ServiceError
from sluice.rollout.decisions.shadow_comparisons import NO_COMPARISON
from sluice.rollout.decisions.states import Approval, Command, CommandKind, Journal, Phase, Request
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon import metrics_server
from sluice.rollout.platforms.seldon.api import LEASE, SELDON_DEPLOYMENT, VIRTUAL_SERVICE, Cluster
from sluice.rollout.platforms.seldon.approval_objects import write_approval
from sluice.rollout.platforms.seldon.controller import _read_account, _run
from sluice.rollout.platforms.seldon.journal_annotations import EPOCH_ANNOTATION
from sluice.rollout.platforms.seldon.metrics_server import serve_metrics
from sluice.rollout.platforms.seldon.objects.serving_pods import read_pod
from sluice.rollout.platforms.seldon.request_annotations import (
    _COMMAND,
    _REQUEST,
    COMMAND_ANNOTATION,
    REQUEST_ANNOTATION,
    add_pending_requests,
)
from sluice.rollout.platforms.seldon.telemetry import Metrics

if TYPE_CHECKING:
    from sluice.rollout.decisions.shadow_comparisons import Comparison


def test_a_shadow_that_is_switched_off_on_the_way_keeps_nobody() -> None:
    world = make_world(Server(difference=0.1), approved=True, shadow_requests=1000)
    reach(world, Phase.SHADOW)
    world.settings = make_settings(**QUICK)
    world.now += 20
    journal = world.run(world.controller("three"), until=ended)
    assert journal.champion == B
    assert "no shadow: it was switched off" in [one.reason for one in journal.transitions]


def test_the_shadow_asks_the_servers_and_not_the_executors_that_count_users() -> None:
    world = make_world(approved=True, shadow_requests=100)
    asked = []

    class Listening:
        def poll(self, _rollout: str, champions: list[str], canary: str) -> Comparison:
            asked.append((champions, canary))
            return NO_COMPARISON

        def close(self) -> None:
            pass

    control = world.controller("two")
    control.shadow = Listening()
    world.run(control, until=lambda journal: journal.state.phase is Phase.SHADOW)
    for _ in range(3):
        world.tick(control)
    assert asked[-1] == (["http://10.0.0.1:9000"], "http://10.0.0.1:9000")


def test_approvals_that_cannot_be_read_hold_nobody_up_on_the_way_down() -> None:
    world = make_world(approved=True)
    control = reach(world, Phase.STEP)

    def before(verb: str, plural: str, _name: str) -> None:
        if (verb, plural) == ("list", "configmaps"):
            raise ServiceError("configmaps is forbidden")

    world.cluster.before = before
    for _ in range(60):
        world.tick(control)
    assert world.weights() == {A: 95, B: 5}, "nothing goes up without them"
    assert "forbidden" in control.platform.status["trouble"]
    world.servers[B].error_rate = 1.0
    for _ in range(5):
        world.tick(control)
    assert world.weights() == {A: 100}


@pytest.mark.parametrize(
    "strange",
    [
        {"steps": ()},
        {"steps": (5, 25)},
        {"steps": (150, 100)},
        {"steps": (-5, 100)},
        {"at": 9e18},
        {"at": math.nan},
        {"number": -5},
        {"number": 10**45},
        {"release": "sha256:é"},
        {"image": "churn:latest"},
    ],
)
def test_a_request_that_no_code_of_ours_writes_is_left_aside(strange: dict[str, Any]) -> None:
    """A requester may write the annotation as it likes."""
    world = SeldonWorld(make_settings(**QUICK))
    world.champion(A, 1)
    world.servers[B] = Server()
    world.now += 20
    sound = Request(id="z", release=B, by="mallory", at=world.now, steps=(5, 25, 100), number=2, image=f"churn@{B}")
    for request, taken in ((dataclasses.replace(sound, **strange), False), (sound, True)):
        wish = {REQUEST_ANNOTATION: _REQUEST.dump_json(request).decode()}
        assert (add_pending_requests(Journal(), wish, now=world.now).request is not None) is taken
    bad = _REQUEST.dump_json(dataclasses.replace(sound, **strange)).decode()
    world.cluster.merge(SELDON_DEPLOYMENT, NAME, {"metadata": {"annotations": {REQUEST_ANNOTATION: bad}}}, manager="m")
    approval = Approval(release=B, steps=(5, 25, 100), by="ann", at=world.now, until=world.now + 9999, image=f"churn@{B}")
    write_approval(world.cluster, NAME, approval)  # type: ignore[arg-type]
    control = world.controller("two")
    for _ in range(30):
        world.tick(control)
    assert world.weights() == {A: 100}


@pytest.mark.parametrize("strange", [{"at": math.nan}, {"at": math.inf}, {"by": "x" * 70_000}, {"target": "nowhere"}])
def test_a_command_that_no_code_of_ours_writes_is_left_aside(strange: dict[str, Any]) -> None:
    """One with a time that is no number ended every round, the automatic rollback included."""
    world = make_world(approved=True)
    control = reach(world, Phase.STEP)
    command = dataclasses.replace(Command(kind=CommandKind.PROMOTE, by="x", at=world.now), **strange)
    text = _COMMAND.dump_json(command).decode().replace(":null", ":NaN")
    world.cluster.merge(SELDON_DEPLOYMENT, NAME, {"metadata": {"annotations": {COMMAND_ANNOTATION: text}}}, manager="m")
    before = len(world.journal.read().transitions)
    world.tick(control)
    assert world.weights() == {A: 95, B: 5}
    assert len(world.journal.read().transitions) == before
    world.servers[B].error_rate = 1.0
    assert world.run(control, until=ended, most=20).champion == A


def test_a_promotion_waits_while_approvals_cannot_be_read() -> None:
    world = make_world(approved=True, bake_seconds=60.0)
    control = reach(world, Phase.STEP)
    world.command(CommandKind.PROMOTE)

    def before(verb: str, plural: str, _name: str) -> None:
        if (verb, plural) == ("list", "configmaps"):
            raise ServiceError("away")

    world.cluster.before = before
    world.tick(control)
    assert world.weights() == {A: 95, B: 5}
    world.cluster.before = lambda *_: None
    world.tick(control)
    assert world.weights() == {B: 100}


def test_a_pod_that_was_evicted_does_not_count() -> None:
    world = make_world()
    reach(world, Phase.AWAITING_APPROVAL)
    ((_, found),) = [(key, one) for key, one in world.cluster.objects.items() if key[0] == "pods" and "r2" in key[1]]
    assert not read_pod(found).leaving
    for phase in ("Failed", "Succeeded"):
        assert read_pod({**found, "status": {**found["status"], "phase": phase}}).leaving


@pytest.mark.parametrize("epoch", ["x", "", "57", "999999999", "9" * 40, "-1"])
def test_whatever_epoch_the_objects_carry_somebody_acts(epoch: str) -> None:
    """A lease that was made anew counts from 1, where a SeldonDeployment that was restored carries its own."""
    world = make_world(approved=True)
    reach(world, Phase.STEP)
    del world.cluster.objects[LEASE.plural, "churn-rollout"]
    for kind in (SELDON_DEPLOYMENT, VIRTUAL_SERVICE):
        annotations = world.cluster.objects[kind.plural, NAME]["metadata"].setdefault("annotations", {})
        annotations[EPOCH_ANNOTATION] = epoch
    world.servers[B].error_rate = 1.0
    assert world.run(world.controller("three"), until=ended, most=60).champion == A


def test_a_moment_of_unreadiness_after_a_long_wait_gives_nobody_up() -> None:
    world = make_world()
    control = reach(world, Phase.AWAITING_APPROVAL)
    for _ in range(300):
        world.tick(control)
    world.servers[B].unready_since = world.now
    world._run_pods()
    for _ in range(3):
        world.tick(control)
    assert world.journal.read().state.phase is Phase.AWAITING_APPROVAL
    world.servers[B].unready_since = None
    world.approve(B)
    assert world.run(control, until=ended).champion == B


def test_one_that_does_not_become_ready_again_is_given_up() -> None:
    world = make_world()
    control = reach(world, Phase.AWAITING_APPROVAL)
    world.servers[B].unready_since = world.now
    journal = world.run(control, until=ended)
    assert "not ready within 120 s" in journal.rollouts[-1].reason


def test_a_controller_that_was_overtaken_does_not_write_the_journal_over_its_successor_s() -> None:
    world = make_world(approved=True)
    control = reach(world, Phase.STEP)
    epoch = control.platform.lock.epoch
    world.journal.update(lambda journal: dataclasses.replace(journal, last_command_at=1.0), epoch=epoch + 1)
    with pytest.raises(ConflictError, match="taken over"):
        world.journal.update(lambda journal: dataclasses.replace(journal, last_command_at=2.0), epoch=epoch)
    assert world.journal.read().last_command_at == 1.0


def test_a_predictor_without_its_annotation_is_known_by_what_it_runs() -> None:
    world = make_world(approved=True)
    control = reach(world, Phase.STEP)
    for predictor in world.cluster.objects[SELDON_DEPLOYMENT.plural, NAME]["spec"]["predictors"]:
        predictor["annotations"].clear()
    for _ in range(3):
        world.tick(control)
    assert world.weights() == {A: 95, B: 5}
    assert world.lost == 0
    assert world.run(control, until=ended).champion == B


def test_weights_are_not_written_by_halves() -> None:
    """Where a predictor is gone, the other one must not get all of the traffic."""
    world = make_world(approved=True)
    control = reach(world, Phase.STEP)
    written: list[object] = []
    predictors = world.cluster.objects[SELDON_DEPLOYMENT.plural, NAME]["spec"]["predictors"]
    world.cluster.before = lambda verb, plural, _name: written.append(verb) if plural == VIRTUAL_SERVICE.plural else None
    world.operator_works = False
    removed = predictors.pop(0)
    control.run_round()
    assert "patch" not in written
    assert removed["name"] in {one["name"] for one in world.predictors()}, "it is made again"


def test_a_controller_that_starts_while_the_api_server_is_away_waits_for_it() -> None:
    answers: list[str | ServiceError] = [ServiceError("away"), ServiceError("away"), "controller"]
    ending, said = threading.Event(), list[str]()
    ending.wait = lambda _seconds=None: False  # type: ignore[method-assign]

    class Away:
        def whoami(self) -> str:
            found = answers.pop(0)
            if isinstance(found, ServiceError):
                raise found
            return found

    assert _read_account(Away(), Metrics(NAME), ending, said.append) == "controller"  # type: ignore[arg-type]
    assert said == ["problem: away"]


def test_whatever_a_round_meets_the_next_one_looks_anew() -> None:
    ending, wake, said = threading.Event(), threading.Event(), list[str]()
    wake.wait = lambda _seconds=None: True  # type: ignore[method-assign]
    rounds: list[Exception] = [ValueError("what others wrote"), ServiceError("away")]

    class Rounds:
        settings = make_settings()
        status: dict[str, Any] = {}  # noqa: RUF012

        def run_round(self) -> bool:
            if rounds:
                raise rounds.pop(0)
            ending.set()
            return True

    rounds_of_a_controller = Rounds()
    _run(rounds_of_a_controller, rounds_of_a_controller, Metrics(NAME), ending, wake, said.append)  # type: ignore[arg-type]
    assert said == ["problem: ValueError: what others wrote", "problem: away"]


def test_the_kubelet_hears_of_a_controller_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics(NAME)
    with serve_metrics(metrics, 0, lambda _line: None) as port:

        def ask(path: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        metrics.observe_round(0.1, "failed")
        assert ask("/healthz")[0] == 200
        assert "sluice_controller_rounds_total" in ask("/metrics")[1]
        monkeypatch.setattr(metrics_server, "STALLED_SECONDS", 0.0)
        assert ask("/healthz")[0] == 503
        assert ask("/metrics")[0] == 200


def test_a_watch_that_is_refused_is_an_error_like_any_other() -> None:
    """The thread that watches ended for good where the Role was bound a moment after the controller began."""
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
