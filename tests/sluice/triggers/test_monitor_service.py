"""The monitor as a service: real HTTP on a real port."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from trigger_services import (
    RecordingStarter,
    connect,
    make_binary_headers,
    make_frame,
    make_reference,
    make_request,
    running,
    write_reference,
)

from sluice.triggers import http_protocol
from sluice.triggers.monitor.app import MonitorApp
from sluice.triggers.monitor.metrics import MonitorMetrics
from sluice.triggers.monitor.references import find_reference
from sluice.triggers.monitor.state_files import find_state_file, read_state
from sluice.triggers.monitor.watching import Monitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluice.project.projects import Project

BODY = json.dumps(make_request(make_frame(2, np.random.default_rng(1)))).encode()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.02)


@pytest.fixture
def monitor(project: Project, starter: RecordingStarter) -> Monitor:
    write_reference(project, make_reference())
    return Monitor(project, find_reference(project), starter, MonitorMetrics())


@pytest.fixture(params=["short way", "ASGI"])
def client(monitor: Monitor, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """Both ways must give the same answers."""
    with (
        running(MonitorApp(monitor), short=request.param == "short way") as url,
        httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        wait_for(lambda: client.get("/readyz").status_code == 200)
        yield client


def count(monitor: Monitor, outcome: str = "counted") -> float:
    return monitor.metrics.registry.get_sample_value("sluice_monitor_events_total", {"outcome": outcome}) or 0.0


def test_seldons_events_are_counted_and_their_retries_are_not(client: httpx.Client, monitor: Monitor) -> None:
    for name in ("a", "b", "a"):
        answer = client.post("/events", content=BODY, headers=make_binary_headers(name))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "ignored": 0})
    response = make_binary_headers(kind="io.seldon.serving.inference.response")
    assert client.post("/events", content=b"{}", headers=response).json() == {"accepted": 0, "ignored": 1}
    wait_for(lambda: count(monitor) == 2)
    assert count(monitor, "duplicate") == 1
    shown = client.get("/metrics").text
    assert 'sluice_monitor_events_total{outcome="ignored"} 1.0' in shown
    assert "sluice_monitor_rows_total 4.0" in shown


def test_a_request_in_parts_is_read(client: httpx.Client, monitor: Monitor) -> None:
    parts = (BODY[start : start + 20] for start in range(0, len(BODY), 20))
    assert client.post("/events", content=parts, headers=make_binary_headers()).status_code == 202
    wait_for(lambda: count(monitor) == 1)


def test_health_errors_and_the_document_are_json(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert set(client.get("/openapi.json").json()["paths"]) == {"/events", "/healthz", "/readyz"}
    for method, path, status in (
        ("GET", "/events", 405),
        ("PUT", "/events", 405),
        ("GET", "/nothing", 404),
        ("POST", "/healthz", 405),
    ):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"code", "message", "hint"}
    answer = client.post("/events", content=b"{}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_event")


def test_a_body_of_10_mb_is_refused_and_the_service_goes_on(client: httpx.Client) -> None:
    large = b"x" * 10_000_000

    def send_in_parts() -> Iterator[bytes]:
        for _ in range(100):
            yield large[:100_000]

    for content in (large, send_in_parts()):
        with contextlib.suppress(httpx.WriteError, httpx.ReadError):  # the server may close before the client has sent all
            assert client.post("/events", content=content, headers=make_binary_headers()).status_code == 413
    assert client.post("/events", content=BODY, headers=make_binary_headers()).status_code == 202


def test_slow_clients_are_cut_off_and_the_service_goes_on(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr("sluice.triggers.monitor.app.BODY_SECONDS", 0.2)
    url = str(client.base_url)
    slow_headers, slow_body = connect(url), connect(url)
    slow_headers.sendall(b"POST /events HTTP/1.1\r\nHost: x\r\n")
    slow_body.sendall(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert client.post("/events", content=BODY, headers=make_binary_headers()).status_code == 202
    assert slow_headers.recv(1_000) == b""
    assert slow_body.recv(1_000).startswith(b"HTTP/1.1 408")
    slow_headers.close()
    slow_body.close()


def test_without_a_reference_the_monitor_is_alive_but_not_ready(project: Project, starter: RecordingStarter) -> None:
    monitor = Monitor(project, find_reference(project), starter, MonitorMetrics())
    with running(MonitorApp(monitor)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").json() == {"status": "no reference"}
        answer = client.post("/events", content=BODY, headers=make_binary_headers())
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_reference")
        assert answer.headers["retry-after"] == "1"


def test_the_state_is_written_when_the_service_ends(project: Project, monitor: Monitor) -> None:
    with running(MonitorApp(monitor)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/events", content=BODY, headers=make_binary_headers()).status_code == 202
    state = read_state(find_state_file(project))
    assert state is not None
    assert sum(one.profile.rows for one in state.slices) == 2


def test_requests_in_one_packet_are_answered_in_order(client: httpx.Client, monitor: Monitor) -> None:
    head = "\r\n".join(f"{name}: {value}" for name, value in make_binary_headers("{name}").items())
    plain = f"POST /events HTTP/1.1\r\nHost: x\r\n{head}\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    parts = [plain.replace(b"{name}", b"n%d" % number) + BODY for number in range(5)]
    with connect(str(client.base_url)) as connection:
        connection.sendall(b"".join(parts) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + parts[0][:100])
        connection.sendall(parts[0][100:])
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 7 or not answers.endswith(b"}"):
            answers += connection.recv(10_000)
    statuses = [part.split()[0] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"202"] * 5 + [b"200", b"202"]
    wait_for(lambda: count(monitor) == 5 and count(monitor, "duplicate") == 1)
