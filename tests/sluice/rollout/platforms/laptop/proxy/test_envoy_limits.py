"""What the proxy refuses, and who may change it."""

from __future__ import annotations

import contextlib
import json
import socket
import stat
from http.client import HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from guards import GUARD_SECONDS
from laptop_rollouts import ask_admin
from rollout_backends import name_release, wait_for

from benchmarks.attacks import HEAD, write_request
from sluice.rollout.platforms.laptop import envoy_config
from sluice.rollout.platforms.laptop.envoy import EnvoyProxy
from sluice.rollout.platforms.laptop.envoy_config import REPLIES
from sluice.rollout.platforms.laptop.ports import reserve_port
from sluice.scoring.faults import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx
    from rollout_backends import Backend

A = name_release("a")


def test_only_this_user_may_open_the_admin_interface_and_nothing_listens_for_it_on_tcp(envoy: EnvoyProxy) -> None:
    envoy.start({})
    admin = Path(envoy.admin_socket)
    assert stat.S_IMODE(admin.stat().st_mode) == 0o600
    assert stat.S_IMODE(admin.parent.stat().st_mode) == 0o700
    assert envoy.pid is not None
    assert listening_ports(envoy.pid) == {envoy.port}
    envoy.stop()
    assert not admin.parent.exists()


def listening_ports(pid: int) -> set[int]:
    nodes = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
    return {int(line[1].rpartition(":")[2], 16) for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in nodes}


@pytest.mark.parametrize("path", ["/drain_listeners", "/healthcheck/fail"])
def test_an_envoy_that_was_told_to_stop_listening_is_noticed(envoy: EnvoyProxy, path: str) -> None:
    envoy.start({})
    envoy.read_counts()
    assert not envoy.is_drained
    ask_admin(envoy.admin_socket, path, "POST")
    wait_for(lambda: envoy.read_counts() is not None and envoy.is_drained)
    envoy.start({})
    assert not envoy.is_drained


def test_a_weight_that_belongs_to_no_release_is_noticed(envoy: EnvoyProxy, serve: Callable[[str], Backend]) -> None:
    serve(A)
    envoy.start({A: 100})
    for change in ("slot-3=100", "no-champion=1", "slot-1-health=0"):
        ask_admin(envoy.admin_socket, f"/runtime_modify?sluice.weights.{change}", "POST")
        assert envoy.read_weights() != {A: 100}
        envoy.set_weights({A: 100})
        assert envoy.read_weights() == {A: 100}


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"nonsense\r\n\r\n", 400, "PROXY_BAD_REQUEST"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 404, "PROXY_NOT_FOUND"),
        (b"GET / HTTP/1.0\r\n\r\n", 426, "PROXY_HTTP_VERSION"),
        (HEAD[:-2] + b"x: " + b"y" * 40_000 + b"\r\n\r\n", 431, "PROXY_HEADERS_TOO_LARGE"),
        (HEAD[:-2] + b"x: y\r\n" * 101 + b"\r\n", 431, "PROXY_HEADERS_TOO_LARGE"),
        (write_request(b" " * (MAX_REQUEST_BYTES + 1)), 413, "PROXY_TOO_LARGE"),
        (write_request(b"{}"), 503, "PROXY_NO_SERVER"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "PROXY_BAD_REQUEST"),
    ],
    ids=["nonsense", "path", "HTTP/1.0", "long header", "many headers", "body", "no champion", "HTTP/2"],
)
def test_each_refusal_of_the_proxy_is_json_with_a_stable_code(
    refusing_envoy: EnvoyProxy, data: bytes, status: int, reason: str
) -> None:
    with socket.create_connection(("127.0.0.1", refusing_envoy.port), timeout=60) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        answer = HTTPResponse(connection)
        answer.begin()
        assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
        found = json.loads(answer.read())["status"]
    assert found == {"status": 1, "code": -1, "reason": reason, "info": REPLIES[status][1]}


@pytest.fixture(scope="module")
def refusing_envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnvoyProxy]:
    """An Envoy without a champion."""
    with reserve_port(0) as reserved:
        port = reserved.getsockname()[1]
    proxy = EnvoyProxy(tmp_path_factory.mktemp("refusing"), port, request_timeout_seconds=0.5)
    proxy.start({})
    yield proxy
    proxy.stop()


@pytest.mark.slow
@pytest.mark.parametrize("data", [HEAD[:30], HEAD, HEAD + b"{"], ids=["in the headers", "before the body", "in the body"])
def test_a_client_that_stops_is_refused_by_the_proxy_when_its_time_is_over(
    envoy: EnvoyProxy, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(envoy_config, "_HEADER_SECONDS", 0.3)
    monkeypatch.setattr(envoy_config, "_REQUEST_SECONDS", 0.6)
    envoy.start({})
    with socket.create_connection(("127.0.0.1", envoy.port), timeout=GUARD_SECONDS) as connection:
        connection.sendall(data)
        answer = HTTPResponse(connection)
        answer.begin()
        assert (answer.status, json.loads(answer.read())["status"]["reason"]) == (408, "PROXY_TIMEOUT")


@pytest.mark.slow
def test_connections_to_the_proxy_are_limited_and_its_admin_interface_still_answers(
    envoy: EnvoyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy_config, "MAX_CONNECTIONS", 5)
    envoy.start({})
    with contextlib.ExitStack() as stack:
        connect = lambda: stack.enter_context(socket.create_connection(("127.0.0.1", envoy.port), timeout=GUARD_SECONDS))  # noqa: E731
        for one in [connect() for _ in range(5)]:
            one.sendall(HEAD)
        assert connect().recv(1) == b"", "it is closed at once"
        assert envoy.read_weights() == {}


@pytest.mark.slow
def test_half_sent_bodies_that_fill_the_memory_of_the_proxy_are_given_up_soon(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy_config, "_MAX_HEAP_BYTES", 60_000_000)
    monkeypatch.setattr(envoy_config, "_REQUEST_SECONDS", 10_000)
    monkeypatch.setattr(envoy_config, "_UNREAD_SECONDS", 10_000)
    serve(A)
    envoy.start({A: 100})
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", envoy.port), timeout=GUARD_SECONDS))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(write_request(b" " * 7_000_000, length=8_000_000))
        wait_for(lambda: count_given_up(envoy) > 0)
        wait_for(lambda: client.post("/api/v1.0/predictions", json={}).status_code == 200)


def count_given_up(envoy: EnvoyProxy) -> int:
    lines = ask_admin(envoy.admin_socket, "/stats?filter=^http.predictions.downstream_rq_idle_timeout$").text.splitlines()
    return int(lines[0].rpartition(":")[2])
