"""Both services under hostile traffic: generated requests, wrong signatures, replays, large bodies, slow clients and a flood."""

from __future__ import annotations

import contextlib
import json
import random
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from trigger_services import (
    KEYS,
    NOW,
    ManualClock,
    RecordingStarter,
    connect,
    make_project,
    make_reference,
    running,
    sign_message,
    write_reference,
)

from sluice.triggers import http_protocol
from sluice.triggers.monitor.app import MonitorApp
from sluice.triggers.monitor.metrics import MonitorMetrics
from sluice.triggers.monitor.references import find_reference
from sluice.triggers.monitor.watching import Monitor
from sluice.triggers.webhook.admission import Webhook
from sluice.triggers.webhook.app import build_app
from sluice.triggers.webhook.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
"""Not among them: that valid data is accepted and invalid data refused, because nearly all of it is unsigned or no CloudEvent."""

BODY = b'{"reason": "test"}'


@contextlib.contextmanager
def run_webhook(root: Path, starter: RecordingStarter, **limits: float) -> Iterator[str]:
    project = make_project(root, webhook={"requests_per_minute": 1_000_000, **limits})
    storage = Storage(project.state / "webhook.sqlite")
    with running(build_app(Webhook(project, project.path(KEYS), storage, starter, clock=ManualClock().clock))) as url:
        yield url
    storage.close()


@contextlib.contextmanager
def run_monitor(root: Path, starter: RecordingStarter) -> Iterator[tuple[str, Monitor]]:
    project = make_project(root)
    write_reference(project, make_reference())
    monitor = Monitor(project, find_reference(project), starter, MonitorMetrics())
    monitor.step()
    with running(MonitorApp(monitor)) as url:
        yield url, monitor


def fuzz(url: str, folder: Path) -> str:
    command = [SCHEMATHESIS, "run", f"{url}/openapi.json", "--checks", ",".join(CHECKS), "--max-examples", "100", "--no-color"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=folder)
    assert ended.returncode == 0, ended.stdout[-6_000:]
    return ended.stdout


def test_generated_requests_break_no_rule_of_the_webhooks_document(tmp_path: Path, starter: RecordingStarter) -> None:
    with run_webhook(tmp_path, starter) as url:
        assert re.search(r"[1-9]\d* generated", fuzz(url, tmp_path))
        assert httpx.get(f"{url}/readyz").status_code == 200
    assert starter.calls == []


def test_generated_requests_break_no_rule_of_the_monitors_document(tmp_path: Path, starter: RecordingStarter) -> None:
    with run_monitor(tmp_path, starter) as (url, monitor):
        fuzz(url, tmp_path)
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert monitor.is_alive
    assert starter.calls == []
    state = monitor.state
    assert state is not None
    assert state.slices == ()


@pytest.mark.parametrize("kind", ["drift", "code"])
def test_generated_bodies_with_a_right_signature_start_the_pipeline_and_pass_nothing_on(
    tmp_path: Path, starter: RecordingStarter, kind: str
) -> None:
    path = f"/events/{kind}"
    limits = {"weekly_runs": 10_000, "weekly_runs_per_client": 10_000}
    with run_webhook(tmp_path, starter, **limits) as url, httpx.Client(base_url=url, trust_env=False) as client:
        operation = schemathesis.openapi.from_url(f"{url}/openapi.json")[path]["POST"]

        @given(case=operation.as_strategy())
        @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
        def send(case: Any) -> None:
            body = json.dumps(case.body, default=str).encode()
            answer = client.post(path, content=body, headers=sign_message(body, path=path))
            assert answer.status_code == 202, answer.text

        send()
    assert len(starter.calls) >= 20
    assert {(pipeline, str(arguments)) for pipeline, arguments, _ in starter.calls} == {("retrain", "{}")}


def test_a_bounded_flood_is_answered_and_a_right_message_comes_through(tmp_path: Path, starter: RecordingStarter) -> None:
    with run_webhook(tmp_path, starter) as url:
        replayed = sign_message(BODY, key="first")
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.post("/events/drift", content=BODY, headers=replayed).status_code == 202
        found: list[int] = []

        def flood(seed: int) -> None:
            rng = random.Random(seed)  # noqa: S311 - it makes test data
            with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
                for _ in range(100):
                    headers = dict(replayed)
                    if rng.random() < 0.5:
                        headers["Sluice-Signature"] = f"v1={rng.randbytes(32).hex()}"
                    found.append(client.post("/events/drift", content=BODY, headers=headers).status_code)

        threads = [threading.Thread(target=flood, args=(seed,)) for seed in range(16)]
        for thread in threads:
            thread.start()
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            assert client.post("/events/drift", content=BODY, headers=sign_message(BODY)).status_code == 202
            assert client.get("/healthz").status_code == 200
        for thread in threads:
            thread.join()
        assert len(found) == 1_600
        assert set(found) == {401, 409}
    assert len(starter.calls) == 2


def test_an_address_that_floods_is_told_to_wait(tmp_path: Path, starter: RecordingStarter) -> None:
    with run_webhook(tmp_path, starter, requests_per_minute=10) as url, httpx.Client(base_url=url, trust_env=False) as client:
        answers = [client.post("/events/drift", content=b"{}", headers={"Content-Type": "application/json"}) for _ in range(50)]
        assert [answer.status_code for answer in answers[:10]] == [401] * 10
        assert {answer.status_code for answer in answers[12:]} == {429}
        assert client.get("/healthz").status_code == 200
    assert starter.calls == []


def test_bodies_of_10_mb_are_refused_and_the_webhook_goes_on(tmp_path: Path, starter: RecordingStarter) -> None:
    large = b" " * 10_000_000
    with run_webhook(tmp_path, starter) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        for content in (large, (large[:100_000] for _ in range(100))):
            with contextlib.suppress(httpx.WriteError, httpx.ReadError):  # the server may close before the client has sent all
                assert client.post("/events/drift", content=content, headers=sign_message(large)).status_code == 413
        assert client.post("/events/drift", content=BODY, headers=sign_message(BODY)).status_code == 202
    assert len(starter.calls) == 1


def test_slow_clients_are_cut_off_and_the_webhook_goes_on(
    tmp_path: Path, starter: RecordingStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "SLOW_SECONDS", 0.5)
    with run_webhook(tmp_path, starter, body_seconds=0.5) as url:
        slow = [connect(url) for _ in range(100)]
        for number, one in enumerate(slow):
            head = "POST /events/drift HTTP/1.1\r\nHost: x\r\n"
            rest = f"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{'{' * (number % 2)}" if number % 3 else ""
            one.sendall((head + rest).encode())
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            assert client.post("/events/drift", content=BODY, headers=sign_message(BODY)).status_code == 202
        for number, one in enumerate(slow):
            answer = one.recv(1_000)
            assert answer.startswith(b"HTTP/1.1 408") if number % 3 else answer == b""
            one.close()
    assert len(starter.calls) == 1


def test_wrong_bytes_are_answered_and_the_webhook_goes_on(tmp_path: Path, starter: RecordingStarter) -> None:
    rng = random.Random(1)  # noqa: S311 - it makes test data
    with run_webhook(tmp_path, starter) as url:
        for number in range(200):
            with connect(url) as one, contextlib.suppress(ConnectionError):
                one.sendall(b"POST /events/drift HTTP/1.1\r\n" * (number % 2) + rng.randbytes(500) + b"\r\n\r\n")
                one.shutdown(1)
                while one.recv(4_096):
                    pass
        signed = sign_message(BODY, time=int(NOW))
        assert httpx.post(f"{url}/events/drift", content=BODY, headers=signed, trust_env=False).status_code == 202
    assert len(starter.calls) == 1
