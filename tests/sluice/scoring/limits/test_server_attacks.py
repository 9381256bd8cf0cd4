"""Attacks on a real Seldon microservice: good clients lose nothing, and each refusal is JSON with a stable code."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from registry_servers import free_port
from release_project import REPOSITORY, processes_of, wait_until

from benchmarks.attacks import ATTACKS, HEAD, PATH, SteadyClients, hold_open, write_request
from sluice.release.model_layer import layer_digest
from sluice.rollout.platforms.laptop.envoy import EnvoyProxy
from sluice.scoring.faults import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

    from sluice.scoring.server_process import ReleaseServer

CHUNKED = HEAD.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked")


def good_body(served: ReleaseServer) -> str:
    return json.dumps({"data": {"names": served.golden.names, "ndarray": [served.golden.rows[0]]}})


def read_answer(client: socket.socket) -> tuple[int, dict[str, Any]]:
    """Read an answer, which must be JSON in the form of Seldon's errors."""
    client.settimeout(60)
    answer = HTTPResponse(client)
    answer.begin()
    assert answer.headers["content-type"] == "application/json"
    return answer.status, json.loads(answer.read())["status"]


def ask_raw(port: int, data: bytes) -> tuple[int, str]:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(data)
        status, found = read_answer(client)
        return status, found["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_good_clients_lose_nothing_during_an_attack(served: ReleaseServer, attack: str) -> None:
    with SteadyClients(served.url, [good_body(served)]) as clients:
        clients.wait_for(10)
        with ATTACKS[attack](served.port):
            clients.wait_for(60)
    assert clients.failed == []


@pytest.fixture(scope="module")
def proxy(served: ReleaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnvoyProxy]:
    """An Envoy before the server."""
    envoy = EnvoyProxy(tmp_path_factory.mktemp("envoy"), free_port(), request_timeout_seconds=60.0)
    envoy.set_endpoint(served.digest, served.port)
    envoy.start({served.digest: 100})
    yield envoy
    envoy.stop()


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_good_clients_of_the_proxy_lose_nothing_during_an_attack(served: ReleaseServer, proxy: EnvoyProxy, attack: str) -> None:
    assert wait_until(lambda: proxy.has_endpoint(served.digest))
    with SteadyClients(f"http://127.0.0.1:{proxy.port}", [good_body(served)]) as clients:
        clients.wait_for(10)
        with ATTACKS[attack](proxy.port):
            clients.wait_for(60)
    assert clients.failed == []


def test_clients_that_stop_in_the_middle_of_a_request_stop_no_answer(served: ReleaseServer) -> None:
    for data in (HEAD[:-20], HEAD + b"{", HEAD + b"{" * 900):
        with hold_open(served.port, data):
            assert served.post(good_body(served)).status_code == 200


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (write_request(b"{", length=200_000_000), (413, "MICROSERVICE_TOO_LARGE")),
        (write_request(b"{", length=10**4000), (413, "MICROSERVICE_TOO_LARGE")),
        (CHUNKED + b"900000\r\n" + b" " * 0x900000 + b"\r\n0\r\n\r\n", (413, "MICROSERVICE_TOO_LARGE")),
        (HEAD[:-2] + b"x: " + b"y" * 100_000 + b"\r\n\r\n", (431, "MICROSERVICE_HEADERS_TOO_LARGE")),
        (b"GET /" + b"y" * 100_000, (431, "MICROSERVICE_HEADERS_TOO_LARGE")),
        (HEAD[:-2] + b"Content-Length: 2\r\n\r\n{}", (400, "MICROSERVICE_BAD_REQUEST")),
        (HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, "MICROSERVICE_BAD_REQUEST")),
        (HEAD.replace(b"1000", b"-1"), (400, "MICROSERVICE_BAD_REQUEST")),
        (HEAD.replace(b"1000", b"1_0"), (400, "MICROSERVICE_BAD_REQUEST")),
        (CHUNKED + b"zz\r\n", (400, "MICROSERVICE_BAD_REQUEST")),
        (b"nonsense\r\n\r\n", (400, "MICROSERVICE_BAD_REQUEST")),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", (400, "MICROSERVICE_BAD_REQUEST")),
        (write_request(b"{}", "Multipart/form-data; boundary=x"), (415, "MICROSERVICE_UNSUPPORTED_TYPE")),
        (write_request(b"{"), (400, "MICROSERVICE_BAD_DATA")),
        (write_request(b"[" * 100_000), (400, "MICROSERVICE_BAD_DATA")),
        (write_request(b'{"data": {"names": [' + b"{}," * 1_000_000 + b"{}]}}"), (400, "MICROSERVICE_BAD_DATA")),
    ],
    ids=["announced", "long length", "chunked", "headers", "line", "two lengths", "length and chunks", "negative", "underscore",
         "bad chunk", "no HTTP", "TLS", "multipart", "no JSON", "nested", "objects"],
)  # fmt: skip
def test_each_refusal_is_json_with_a_stable_code(served: ReleaseServer, data: bytes, expected: tuple[int, str]) -> None:
    assert ask_raw(served.port, data) == expected


def test_no_header_changes_what_the_application_is_asked(served: ReleaseServer) -> None:
    headers = {
        "SCRIPT_NAME": "/x",
        "Script-Name": "/x",
        "X-Forwarded-Ssl": "on",
        "X-Forwarded-Proto": "http",
        "Content_Length": "1",
    }
    answer = httpx.post(
        f"{served.url}{PATH}", content=good_body(served), headers=headers | {"content-type": "application/json"}, trust_env=False
    )
    assert answer.status_code == 200, answer.text


def test_a_header_of_10_000_bytes_and_a_chunked_body_are_accepted(served: ReleaseServer) -> None:
    def parts() -> Iterator[bytes]:
        yield from (bytes([one]) for one in good_body(served).encode())

    headers = {"content-type": "application/json", "x": "y" * 10_000}
    assert httpx.post(f"{served.url}{PATH}", content=parts(), headers=headers, trust_env=False).status_code == 200


def read_status(answers: BufferedReader) -> int:
    """Read one answer, and return its status."""
    status = int(answers.readline().split()[1])
    headers = http.client.parse_headers(answers)
    answers.read(int(headers["content-length"]))
    return status


def test_several_requests_that_arrive_at_once_are_answered_in_their_order(served: ReleaseServer) -> None:
    good, bad = write_request(good_body(served).encode()), write_request(b"{")
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(good + bad + good)
        client.settimeout(60)
        with client.makefile("rb") as answers:  # one reader, because a reader may take the beginning of the next answer too
            found = [read_status(answers) for _ in range(3)]
    assert found == [200, 400, 200]


def test_the_largest_body_is_answered(served: ReleaseServer) -> None:
    body = good_body(served)
    assert served.post(body + " " * (MAX_REQUEST_BYTES - len(body))).status_code == 200


PROGRAM = """\
import sys
from serving import http_worker
from seldon_core import microservice
http_worker.HEADER_SECONDS, http_worker.REQUEST_SECONDS, http_worker.TICK_SECONDS = 0.3, 0.6, 0.05
http_worker.MAX_REQUESTS, http_worker.MAX_BUFFERED_BYTES = 3, 1_000_000
settings = microservice.UserModelApplication.load_config
def load_config(application):
    settings(application)
    application.cfg.set("worker_connections", 20)
microservice.UserModelApplication.load_config = load_config
microservice._make_rest_metrics_server = lambda *_: None
microservice.main()
"""


@pytest.fixture(scope="module")
def small_limits(layer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server whose limits are small."""
    with serve_with_small_limits(layer, tmp_path_factory.mktemp("limits")) as port:
        yield port


@contextmanager
def serve_with_small_limits(layer: Path, folder: Path) -> Iterator[int]:
    port = free_port()
    arguments = [f"--http-port={port}", "--service-type=MODEL", "--grpc-workers=0", "--threads=4", "--keepalive=600"]
    command = [REPOSITORY / ".venv-serving/bin/python", "-c", PROGRAM, "serving.model_server.ModelServer", *arguments]
    variables = {"SLUICE_RELEASE_FOLDER": str(layer), "SLUICE_RELEASE_DIGEST": layer_digest(layer), "PYTHONPATH": str(REPOSITORY)}
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | variables, stdout=output, stderr=output, start_new_session=True
        )
    try:
        assert wait_until(lambda: process.poll() is not None or is_ready(port)), (folder / "log").read_text()
        yield port
    finally:
        for pid in processes_of(process.pid):
            os.kill(pid, 9)
        process.wait()


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/status", trust_env=False, timeout=5.0).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("data", [HEAD[:30], HEAD, HEAD + b"{"], ids=["in the headers", "before the body", "in the body"])
def test_a_client_that_stops_is_refused_when_its_time_is_over(small_limits: int, data: bytes) -> None:
    assert ask_raw(small_limits, data) == (408, "MICROSERVICE_TIMEOUT")


@pytest.mark.slow
def test_connections_are_limited_and_those_that_have_waited_longest_make_room(small_limits: int) -> None:
    with hold_open(small_limits, b"", clients=60):
        assert is_ready(small_limits)


@pytest.mark.slow
def test_bodies_in_memory_are_limited_and_the_largest_that_is_still_arriving_makes_room(small_limits: int) -> None:
    with (
        socket.create_connection(("127.0.0.1", small_limits)) as small,
        socket.create_connection(("127.0.0.1", small_limits)) as large,
    ):
        small.sendall(HEAD)
        large.sendall(write_request(b" " * 1_100_000, length=2_000_000))
        assert read_answer(large) == (
            503,
            {
                "status": 1,
                "code": -1,
                "reason": "MICROSERVICE_BUSY",
                "info": "the server has too many requests at the moment: send the request again",
            },
        )
        small.sendall(b" " * 1000)
        assert read_answer(small)[0] == 400


@pytest.mark.slow
def test_a_connection_closes_after_its_last_request_and_says_so(small_limits: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{small_limits}", trust_env=False) as client:
        found = [client.get("/health/ping").headers.get("connection") for _ in range(4)]
    assert found == [None, None, "close", None]
