"""The proxy: a real Envoy in front of real HTTP servers."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from laptop_rollouts import ask_admin
from rollout_backends import is_running, name_release, wait_for

from sluice.errors import PortInUseError, ServiceError
from sluice.rollout.decisions.evidence import Counts
from sluice.rollout.platforms.laptop.envoy_config import (
    RELEASE_HEADER,
    build_bootstrap,
    build_endpoints,
    build_weight_keys,
    read_weight_keys,
)
from sluice.rollout.platforms.laptop.ports import reserve_port
from sluice.scoring.faults import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx
    from rollout_backends import Backend, Backends

    from sluice.rollout.platforms.laptop.envoy import EnvoyProxy

A, B, C = (name_release(letter) for letter in "abc")
PATH = "/api/v1.0/predictions"


def send_requests(client: httpx.Client, times: int) -> Counter[tuple[int, str]]:
    answers = (client.post(PATH, json={}) for _ in range(times))
    return Counter((answer.status_code, answer.headers.get(RELEASE_HEADER, "")) for answer in answers)


def counts(envoy: EnvoyProxy) -> dict[str, Counts]:
    """Return requests and errors only, because Envoy reports the durations later."""
    return {name: dataclasses.replace(found.counts, timed=0, slow=0) for name, found in envoy.read_counts().items()}


def test_weights_take_effect_at_once_and_answers_name_their_release(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend]
) -> None:
    serve(A)
    serve(B)
    envoy.start({A: 100, B: 0})
    assert envoy.read_weights() == {A: 100}
    assert send_requests(client, 50) == {(200, A): 50}
    envoy.set_weights({A: 50, B: 50})
    assert envoy.read_weights() == {A: 50, B: 50}
    seen = send_requests(client, 200)
    assert seen[200, A] > 50
    assert seen[200, B] > 50
    envoy.set_weights({B: 100})
    assert send_requests(client, 50) == {(200, B): 50}
    assert sum((found for found in counts(envoy).values()), Counts()) == Counts(300, 0)


def test_5xx_time_outs_and_refused_connections_count_as_errors(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend], backends: Backends
) -> None:
    backend = serve(A)
    envoy.start({A: 100})
    backends.set_mode(A, errors=1.0, status=500)
    assert send_requests(client, 3) == {(500, A): 3}
    backends.set_mode(A, delay=2.0)
    assert send_requests(client, 2) == {(504, A): 2}
    backend.stop()
    assert send_requests(client, 4) == {(503, A): 4}
    assert counts(envoy) == {A: Counts(9, 3 + 2 + 4)}


def test_rejected_requests_are_counted_apart_from_requests_and_errors(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend], backends: Backends
) -> None:
    serve(A)
    envoy.start({A: 100})
    for status in (400, 404, 413, 415, 422):
        backends.set_mode(A, errors=1.0, status=status)
        assert send_requests(client, 3) == {(status, A): 3}
    backends.set_mode(A)
    assert send_requests(client, 2) == {(200, A): 2}
    assert counts(envoy) == {A: Counts(2, 0, rejected=15)}


def test_a_body_that_is_too_large_is_answered_by_the_proxy_and_counts_in_no_release(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend]
) -> None:
    serve(A)
    envoy.start({A: 100})
    assert client.post(PATH, content=b" " * (MAX_REQUEST_BYTES + 1)).status_code == 413
    assert client.post(PATH, content=b"{" + b" " * 100_000 + b"}").status_code == 200
    assert counts(envoy) == {A: Counts(1, 0)}


def test_a_client_that_goes_away_counts_in_no_release(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend], backends: Backends
) -> None:
    serve(A)
    envoy.start({A: 100})
    backends.set_mode(A, delay=0.3)
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n".encode()
    for body in (b"", b"{", b"{" + b" " * 99):  # before its body, in its middle, and while it waits for the answer
        with socket.create_connection(("127.0.0.1", envoy.port)) as connection:
            connection.sendall(head + body)
            time.sleep(0.1)
    wait_for(lambda: _read_stat(envoy, "http.predictions.downstream_rq_active") == 0)
    assert counts(envoy) == {A: Counts()}
    assert send_requests(client, 1) == {(200, A): 1}
    assert counts(envoy) == {A: Counts(1, 0)}


def _read_stat(envoy: EnvoyProxy, name: str) -> int:
    lines = ask_admin(envoy.admin_socket, f"/stats?filter=^{name}$").text.splitlines()
    return int(lines[0].rpartition(":")[2])


def test_only_predictions_and_health_are_exposed(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend]
) -> None:
    serve(A)
    envoy.start({A: 100})
    assert client.get("/api/v1.0/health/status").headers[RELEASE_HEADER] == A
    for path in (
        "/",
        "/predict",
        "/metrics",
        "/send-feedback",
        "/api/v1.0/feedback",
        f"{PATH}/x",
        "/api/v1.0/../../metrics",
        "/health/status",
    ):
        assert client.post(path, json={}).status_code == 404, path
        assert client.get(path).status_code == 404, path
    assert client.get(PATH).status_code == 404
    assert counts(envoy) == {A: Counts(0, 0)}, "health requests are not evidence"


def test_a_client_can_neither_switch_retries_on_nor_set_timeouts(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend], backends: Backends
) -> None:
    serve(A)
    backends.set_mode(A, errors=1.0, status=500)
    envoy.start({A: 100})
    headers = {"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "3", "x-envoy-upstream-rq-timeout-ms": "1"}
    assert client.post(PATH, json={}, headers=headers).status_code == 500
    assert counts(envoy) == {A: Counts(1, 1)}
    stats = ask_admin(envoy.admin_socket, "/stats?filter=upstream_rq_retry$").text
    assert all(line.endswith(": 0") for line in stats.splitlines())


def test_without_a_champion_every_request_gets_503(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend]
) -> None:
    serve(A)  # a canary that waits for its approval
    envoy.start({})
    assert envoy.read_weights() == {}
    assert send_requests(client, 5) == {(503, ""): 5}
    assert counts(envoy) == {A: Counts()}


def test_a_server_that_restarts_on_another_port_gets_requests_again(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend]
) -> None:
    first = serve(A)
    envoy.start({A: 100})
    wait_for(lambda: envoy.has_endpoint(A))
    first.stop()
    envoy.set_endpoint(A, None)
    wait_for(lambda: send_requests(client, 1) == {(503, ""): 1})
    assert not envoy.has_endpoint(A)
    serve(A)
    wait_for(lambda: envoy.has_endpoint(A))
    assert send_requests(client, 5) == {(200, A): 5}


def test_a_freed_slot_counts_from_zero_for_its_next_release(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend]
) -> None:
    for release in (A, B, C):
        serve(release)
    envoy.start({A: 0, C: 100})
    send_requests(client, 7)
    with pytest.raises(ServiceError, match="no slot"):
        envoy.set_endpoint(name_release("d"), 1)
    envoy.set_weights({A: 100})
    envoy.remove(C)
    d = name_release("d")
    serve(d)
    wait_for(lambda: envoy.has_endpoint(d))
    assert counts(envoy)[d] == Counts()
    envoy.set_weights({d: 100})
    assert send_requests(client, 3) == {(200, d): 3}
    assert counts(envoy)[d] == Counts(3, 0)


def test_counts_continue_after_envoy_was_killed(envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend]) -> None:
    serve(A)
    serve(B)
    envoy.start({A: 100})
    send_requests(client, 5)
    assert counts(envoy)[A] == Counts(5, 0)
    assert envoy.pid is not None
    os.kill(envoy.pid, signal.SIGKILL)
    wait_for(lambda: not envoy.is_alive())
    with pytest.raises(ServiceError, match="admin"):
        envoy.read_counts()
    envoy.start({B: 100})
    assert send_requests(client, 4) == {(200, B): 4}
    assert counts(envoy) == {A: Counts(5, 0), B: Counts(4, 0)}


def test_counts_continue_after_somebody_has_reset_envoys_counters(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend]
) -> None:
    serve(A)
    envoy.start({A: 100})
    send_requests(client, 5)
    assert counts(envoy) == {A: Counts(5, 0)}
    ask_admin(envoy.admin_socket, "/reset_counters", "POST")
    send_requests(client, 3)
    assert counts(envoy) == {A: Counts(8, 0)}


def test_median_and_99th_percentile_of_the_latency_are_read(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend], backends: Backends
) -> None:
    serve(A)
    backends.set_mode(A, delay=0.05)
    envoy.start({A: 100})
    send_requests(client, 10)
    wait_for(lambda: envoy.read_counts()[A].p50_ms is not None)
    reading = envoy.read_counts()[A]
    assert reading.p50_ms is not None
    assert reading.p99_ms is not None
    assert 40 < reading.p50_ms <= reading.p99_ms < 500


def test_an_error_names_the_port_that_is_in_use(envoy: EnvoyProxy, serve: Callable[[str], Backend]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        envoy.port = other.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(envoy.port)):
            envoy.start({})
        with pytest.raises(PortInUseError, match=str(envoy.port)):
            reserve_port(envoy.port)
    assert not envoy.is_alive()


def test_a_reserved_port_cannot_be_reserved_again_until_it_is_closed() -> None:
    reserved = reserve_port(0)
    port = reserved.getsockname()[1]
    with pytest.raises(PortInUseError):
        reserve_port(port)
    reserved.close()
    reserve_port(port).close()


def test_a_chosen_port_is_never_one_that_an_outgoing_connection_gets() -> None:
    with contextlib.ExitStack() as stack:
        chosen = {stack.enter_context(reserve_port(0)).getsockname()[1] for _ in range(20)}
    assert len(chosen) == 20
    assert max(chosen) < 32_768


def test_envoy_is_killed_when_its_parent_ends(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from sluice.rollout.platforms.laptop.envoy import EnvoyProxy\n"
        "from sluice.rollout.platforms.laptop.ports import reserve_port\n"
        "with reserve_port(0) as reserved: port = reserved.getsockname()[1]\n"
        f"envoy = EnvoyProxy(Path({str(tmp_path)!r}), port, 1.0); envoy.start({{}})\n"
        "print(envoy.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not is_running(pid))


def test_the_configuration_has_no_retries_and_listens_on_the_loopback_interface_only(tmp_path: Path) -> None:
    weights = {"slot-1": 95, "slot-2": 5}
    bootstrap = build_bootstrap(
        port=1234, admin=tmp_path / "admin", weights=weights, endpoints=tmp_path, request_timeout_seconds=5.0
    )
    text = json.dumps(bootstrap)
    assert text.count('"127.0.0.1"') == 1
    assert "retry" not in text
    assert bootstrap["layered_runtime"]["layers"][0]["static_layer"]["sluice"]["weights"] == {
        "slot-1": 95,
        "slot-2": 5,
        "slot-3": 0,
        "no-champion": 0,
        "slot-1-health": 95,
        "slot-2-health": 5,
        "slot-3-health": 0,
        "no-champion-health": 0,
    }
    assert build_endpoints("slot-1", A, None, version="1")["resources"][0]["endpoints"] == []


def test_weight_keys_are_read_back() -> None:
    entries = {key: {"final_value": str(value)} for key, value in build_weight_keys({"slot-2": 25, "slot-3": 75}).items()}
    assert read_weight_keys(entries) == {"slot-2": 25, "slot-3": 75}
    entries["sluice.weights.slot-3-health"] = {"final_value": "0"}
    assert read_weight_keys(entries) == {"slot-2": 25, "slot-3": 75, "slot-3-health": 0}


def test_slow_answers_are_counted_when_envoy_reports_their_duration(
    envoy: EnvoyProxy, client: httpx.Client, serve: Callable[[str], Backend], backends: Backends
) -> None:
    envoy.slow_seconds = 0.1
    serve(A)
    envoy.start({A: 100})
    send_requests(client, 3)
    backends.set_mode(A, delay=0.2)
    send_requests(client, 2)
    wait_for(lambda: envoy.read_counts()[A].counts.timed == 5)
    assert envoy.read_counts()[A].counts == Counts(5, 0, 5, 2)
