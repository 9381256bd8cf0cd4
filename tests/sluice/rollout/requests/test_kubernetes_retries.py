"""If an API server cannot answer now, a command asks again, a control round goes on, and no write is carried out twice."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from kubernetes import client

from sluice.engines.argo.api_server import ApiServer
from sluice.errors import ServiceError
from sluice.gate.stores.config_maps import ConfigMapStore
from sluice.kubernetes_calls import POD, RefusedCallError
from sluice.kubernetes_connections import QuickConnection
from sluice.kubernetes_retries import retry_call
from sluice.rollout.platforms.seldon.api import MODEL_ROLLOUT, ROLLOUT_APPROVAL, Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REINITIALIZING = (429, "storage is (re)initializing", "1")
"""What Kubernetes 1.34 answers while the storage of a custom kind is made ready."""


class UnreadyServer:
    """An API server that gives planned refusals, one for each call, and then answers."""

    def __init__(self) -> None:
        self.refusals: list[tuple[int, str, str]] = []
        self.calls: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_call(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                outer.calls.append(self.command)
                status, message, retry_after = outer.refusals.pop(0) if outer.refusals else (200, "", "")
                document: dict[str, Any] = (
                    {"kind": "Status", "message": message} if message else {"items": [], "metadata": {"resourceVersion": "1"}}
                )
                content = json.dumps(document).encode()
                self.send_response(status)
                if retry_after:
                    self.send_header("Retry-After", retry_after)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = handle_call  # noqa: N815 - names of the standard library

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def open_client(self) -> client.ApiClient:
        settings = client.Configuration(host=self.url)
        settings.retries = False
        return client.ApiClient(settings)


@pytest.fixture
def server() -> Iterator[UnreadyServer]:
    made = UnreadyServer()
    yield made
    made.server.shutdown()
    made.server.server_close()


def open_cluster(server: UnreadyServer, *, quick: bool = True, patience: float = 60.0) -> Cluster:
    connection = QuickConnection(server.url, "prod", urllib3.PoolManager()) if quick else server.open_client()
    return Cluster(connection, "prod", patience)


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize(
    "refusal",
    [
        (429, "storage is (re)initializing", ""),
        (500, "storage is (re)initializing", ""),
        (500, "etcdserver: leader changed", ""),
        (500, "etcdserver: request timed out", ""),
        (503, "the server is currently unable to handle the request", ""),
        (504, "Timeout: request did not complete", ""),
    ],
)
def test_a_command_reads_again_what_the_server_cannot_answer_now(
    server: UnreadyServer, refusal: tuple[int, str, str], quick: bool
) -> None:
    server.refusals = [refusal, refusal]
    assert open_cluster(server, quick=quick).list(ROLLOUT_APPROVAL, "") == []
    assert server.calls == ["GET"] * 3


@pytest.mark.parametrize("refusal", [(500, "a bug", ""), (403, "forbidden: timeout", ""), (400, "etcdserver: bad", "1")])
def test_a_refusal_that_will_not_pass_is_reported_at_once(server: UnreadyServer, refusal: tuple[int, str, str]) -> None:
    server.refusals = [refusal]
    with pytest.raises(ServiceError, match="refused GET"):
        open_cluster(server).list(ROLLOUT_APPROVAL, "")
    assert server.calls == ["GET"]


def test_a_control_round_does_not_wait_for_the_server(server: UnreadyServer) -> None:
    server.refusals = [REINITIALIZING]
    with pytest.raises(ServiceError, match="initializing"):
        open_cluster(server, patience=0.0).get(MODEL_ROLLOUT, "churn")
    assert server.calls == ["GET"]


@pytest.mark.parametrize("refusal", [(500, "etcdserver: request timed out", ""), (503, "unavailable", ""), (504, "timeout", "")])
def test_a_write_that_may_have_been_carried_out_is_not_repeated(server: UnreadyServer, refusal: tuple[int, str, str]) -> None:
    server.refusals = [refusal]
    with pytest.raises(ServiceError, match="refused POST"):
        open_cluster(server).create(POD, {"metadata": {"name": "one"}}, manager="test")
    assert server.calls == ["POST"]


@pytest.mark.parametrize("refusal", [(429, "too many requests", ""), (503, "starting", "1")])
def test_a_write_that_was_not_carried_out_is_repeated(server: UnreadyServer, refusal: tuple[int, str, str]) -> None:
    server.refusals = [refusal]
    open_cluster(server).merge(POD, "one", {"metadata": {}}, manager="test")
    assert server.calls == ["PATCH", "PATCH"]


def test_the_engine_and_the_ledger_of_the_gate_ask_again_too(server: UnreadyServer) -> None:
    server.refusals = [REINITIALIZING]
    assert ApiServer(server.open_client(), "prod").list(POD, "") == []
    assert server.calls == ["GET", "GET"]
    server.refusals = [REINITIALIZING]
    ConfigMapStore(client.CoreV1Api(server.open_client()), "ledger", "prod").read()
    assert server.calls == ["GET"] * 4


class SteppedTime:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.seconds, self.pauses = 100.0, list[float]()

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.pauses.append(seconds)


def refuse(refusal: RefusedCallError) -> Callable[[], None]:
    def send() -> None:
        raise refusal

    return send


def test_the_time_is_bounded_and_the_pauses_grow() -> None:
    time = SteppedTime()
    with pytest.raises(RefusedCallError):
        retry_call(refuse(RefusedCallError(503, "busy")), "GET", seconds=5.0, sleep=time.sleep, now=time.now)
    assert 2.0 < sum(time.pauses) <= 5.0
    assert 0.1 <= time.pauses[0] <= 0.125
    assert max(time.pauses) <= 1.25
    assert time.pauses[3] > 2 * time.pauses[0]


def test_the_time_that_the_server_states_is_kept_if_it_is_short_enough() -> None:
    for stated, expected in ((2.0, 2), (30.0, 0)):
        time = SteppedTime()
        with pytest.raises(RefusedCallError):
            retry_call(refuse(RefusedCallError(429, "busy", stated)), "POST", seconds=5.0, sleep=time.sleep, now=time.now)
        assert len(time.pauses) <= expected
        assert all(pause >= stated for pause in time.pauses)


def test_clients_that_were_refused_together_do_not_come_back_together() -> None:
    firsts = set()
    for _ in range(20):
        time = SteppedTime()
        with pytest.raises(RefusedCallError):
            retry_call(refuse(RefusedCallError(429, "busy")), "GET", seconds=0.2, sleep=time.sleep, now=time.now)
        firsts.add(time.pauses[0])
    assert len(firsts) > 10
