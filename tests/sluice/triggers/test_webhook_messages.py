"""Which messages the webhook accepts. Each rule has a test, over the real application."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from trigger_services import AUDIENCE, KEYS, NOW, SECRET, ManualClock, RecordingStarter, make_project, running, sign_message

from sluice.errors import ServiceError
from sluice.triggers.webhook.admission import Webhook
from sluice.triggers.webhook.app import build_app
from sluice.triggers.webhook.metrics import ACCEPTED, ANSWERS
from sluice.triggers.webhook.openapi import describe_webhook
from sluice.triggers.webhook.storage import WEEK_SECONDS, Storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluice.project.projects import Project

BODY = json.dumps({"columns": ["amount"], "reason": "the monitor of another team saw drift"}).encode()
COMMIT = json.dumps({"commit": "a" * 40}).encode()


class Hook:
    """A webhook that can be restarted."""

    def __init__(self, project: Project, clock: ManualClock, starter: RecordingStarter) -> None:
        self.project, self.clock, self.starter = project, clock, starter
        self.start()

    def start(self) -> None:
        self.storage = Storage(self.project.state / "webhook.sqlite")
        webhook = Webhook(self.project, self.project.path(KEYS), self.storage, self.starter, clock=self.clock.clock)
        self.running = contextlib.ExitStack()
        url = self.running.enter_context(running(build_app(webhook)))
        self.client = self.running.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=30))

    def close(self) -> None:
        self.running.close()
        self.storage.close()

    def restart(self) -> None:
        self.close()
        self.start()

    def send(self, headers: dict[str, str], body: bytes = BODY, path: str = "/events/drift") -> httpx.Response:
        return self.client.post(path, content=body, headers=headers)

    def sign(self, body: bytes = BODY, **changes: Any) -> dict[str, str]:
        return sign_message(body, **({"time": int(self.clock.time)} | changes))

    def refuse(self, headers: dict[str, str], status: int, code: str, **more: Any) -> httpx.Response:
        """Send a message that must be refused, and check that it changes nothing."""
        before = (len(self.starter.calls), self.storage.list_starts(0))
        answer = self.send(headers, **more)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        assert set(answer.json()) == {"error"}
        assert (len(self.starter.calls), self.storage.list_starts(0)) == before
        return answer


@pytest.fixture
def hook(project: Project, clock: ManualClock, starter: RecordingStarter) -> Iterator[Hook]:
    hook = Hook(project, clock, starter)
    yield hook
    hook.close()


@contextlib.contextmanager
def limited_hook(root: Path, clock: ManualClock, starter: RecordingStarter, **limits: int) -> Iterator[Hook]:
    hook = Hook(make_project(root, webhook=limits), clock, starter)
    yield hook
    hook.close()


def test_a_signed_message_starts_the_pipeline_without_any_argument(hook: Hook) -> None:
    answer = hook.send(hook.sign(key="k1"))
    assert answer.status_code == 202
    assert answer.json() == {"run": "run-1", "pipeline": "retrain", "event": "drift", "key": "k1"}
    code = hook.send(hook.sign(COMMIT, path="/events/code", key="k2"), COMMIT, "/events/code")
    assert code.json() == {"run": "run-2", "pipeline": "retrain", "event": "code", "key": "k2"}
    assert [(pipeline, arguments) for pipeline, arguments, _ in hook.starter.calls] == [("retrain", {})] * 2
    assert len({key for _, _, key in hook.starter.calls}) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"project": "other"},
        {"audience": "https://elsewhere.example.com"},
        {"client": "stranger"},
        {"path": "/events/code"},
        {"secret": b"another key that also has more than 32 bytes"},
        {"secret": b"0" * 32, "client": "stranger"},
    ],
)
def test_a_signature_for_something_else_is_refused(hook: Hook, change: dict[str, Any]) -> None:
    hook.refuse(hook.sign(**change), 401, "signature")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Sluice-Timestamp", str(int(NOW) + 1)),
        ("Idempotency-Key", "another"),
        ("Sluice-Signature", "v1=" + "0" * 64),
        ("Sluice-Signature", "v1=" + "0" * 63),
        ("Sluice-Signature", "v0=" + "0" * 64),
        ("Sluice-Signature", ""),
    ],
)
def test_a_changed_header_is_refused(hook: Hook, header: str, value: str) -> None:
    hook.refuse(hook.sign() | {header: value}, 401, "signature")


def test_a_changed_body_is_refused(hook: Hook) -> None:
    hook.refuse(hook.sign(), 401, "signature", body=BODY.replace(b"amount", b"age"))
    hook.refuse(hook.sign(), 401, "signature", body=BODY + b" ")


@pytest.mark.parametrize(
    "change",
    [
        {"Sluice-Client": "../keys/ci"},
        {"Sluice-Client": "ci.next"},
        {"Sluice-Client": "CI"},
        {"Sluice-Client": ""},
        {"Idempotency-Key": ""},
        {"Idempotency-Key": "a b"},
        {"Idempotency-Key": "x" * 129},
        {"Sluice-Timestamp": "now"},
        {"Sluice-Timestamp": "-5"},
        {"Sluice-Timestamp": "1" * 30},
    ],
)
def test_headers_that_are_missing_or_malformed_are_refused(hook: Hook, change: dict[str, str]) -> None:
    hook.refuse(hook.sign() | change, 401, "headers")


def test_a_header_that_occurs_twice_counts_as_missing(hook: Hook) -> None:
    headers = [*hook.sign().items(), ("Sluice-Client", "ci")]
    answer = hook.client.post("/events/drift", content=BODY, headers=headers)
    assert answer.json()["error"]["code"] == "headers"


def test_a_message_outside_the_clock_window_is_refused(hook: Hook) -> None:
    for offset in (-301, 301):
        hook.refuse(hook.sign(time=int(NOW) + offset), 401, "clock")
    for offset in (-299, 299):
        assert hook.send(hook.sign(time=int(NOW) + offset)).status_code == 202


def test_two_keys_are_valid_during_a_rotation_and_one_after_it(hook: Hook) -> None:
    following = b"the next key of the client, with more than 32 bytes"
    folder = hook.project.path(KEYS)
    hook.refuse(hook.sign(secret=following), 401, "signature")
    (folder / "ci.next").write_bytes(following)
    assert hook.send(hook.sign(secret=following)).status_code == 202
    assert hook.send(hook.sign()).status_code == 202
    (folder / "ci.next").replace(folder / "ci")
    hook.refuse(hook.sign(secret=SECRET), 401, "signature")
    assert hook.send(hook.sign(secret=following)).status_code == 202


def test_each_key_is_compared_in_constant_time(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared: list[tuple[str, str]] = []

    def compare(first: str, second: str) -> bool:
        compared.append((first, second))
        return first == second

    monkeypatch.setattr(hmac, "compare_digest", compare)
    (hook.project.path(KEYS) / "ci.next").write_bytes(b"the next key of the client, with more than 32 bytes")
    assert hook.send(hook.sign()).status_code == 202
    assert len(compared) == 2
    hook.send(hook.sign(client="stranger"))
    assert len(compared) == 3


def test_a_key_that_is_too_short_is_not_used(hook: Hook) -> None:
    (hook.project.path(KEYS) / "weak").write_bytes(b"short")
    hook.refuse(hook.sign(client="weak", secret=b"short"), 401, "signature")


def test_a_replay_is_refused_also_after_a_restart(hook: Hook) -> None:
    headers = hook.sign()
    assert hook.send(headers).status_code == 202
    hook.refuse(headers, 409, "replayed")
    hook.restart()
    hook.refuse(headers, 409, "replayed")
    assert len(hook.starter.calls) == 1


def test_a_replay_is_refused_after_the_clock_was_set_back(hook: Hook) -> None:
    headers = hook.sign()
    assert hook.send(headers).status_code == 202
    hook.clock.move(1_000)
    assert hook.send(hook.sign()).status_code == 202
    hook.clock.move(-1_000)
    hook.refuse(headers, 409, "replayed")


def test_the_replay_store_forgets_what_the_clock_refuses(hook: Hook) -> None:
    for _ in range(20):
        hook.refuse(hook.sign(b"{}"), 401, "signature")
        assert hook.send(hook.sign(b"[]"), b"[]").status_code == 422
        hook.clock.move(100)
    ((rows,),) = hook.storage._base.execute("SELECT count(*) FROM messages").fetchall()
    assert rows <= 7


def test_an_idempotency_key_gives_the_first_answer_again(hook: Hook) -> None:
    first = hook.send(hook.sign(key="one"))
    hook.clock.move(10)
    again = hook.send(hook.sign(key="one"))
    hook.restart()
    hook.clock.move(10)
    later = hook.send(hook.sign(key="one"))
    assert first.status_code == again.status_code == later.status_code == 202
    assert first.json() == again.json() == later.json()
    assert len(hook.starter.calls) == 1


def test_an_idempotency_key_is_for_one_message_of_one_client(hook: Hook) -> None:
    assert hook.send(hook.sign(key="one")).status_code == 202
    other = b'{"reason": "another"}'
    hook.refuse(hook.sign(other, key="one"), 422, "key_reused", body=other)
    hook.refuse(hook.sign(COMMIT, key="one", path="/events/code"), 422, "key_reused", body=COMMIT, path="/events/code")
    (hook.project.path(KEYS) / "second").write_bytes(SECRET)
    assert hook.send(hook.sign(key="one", client="second")).status_code == 202
    assert len({key for _, _, key in hook.starter.calls}) == 2


def test_a_start_that_fails_can_be_tried_again_with_the_same_key_and_does_not_count(hook: Hook) -> None:
    hook.starter.failure = ServiceError("the API server at 10.0.0.1 does not answer")
    answer = hook.refuse(hook.sign(key="one"), 503, "not_started")
    assert "10.0.0.1" not in answer.text
    assert answer.headers["retry-after"] == "60"
    hook.starter.failure = None
    hook.clock.move(60)
    assert hook.send(hook.sign(key="one")).status_code == 202


def test_a_webhook_killed_during_a_start_finds_the_run_by_its_key(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(hook.storage, "set_answer", die)
        answer = hook.send(hook.sign(key="one"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "unexpected")
    hook.restart()
    hook.clock.move(1)
    assert hook.send(hook.sign(key="one")).json()["run"] == "run-1"
    assert list(hook.starter.runs.values()) == ["run-1"]
    assert len(hook.storage.list_starts(0)) == 1


def test_a_client_and_all_clients_may_start_so_many_runs_a_week(
    tmp_path: Path, clock: ManualClock, starter: RecordingStarter
) -> None:
    with limited_hook(tmp_path, clock, starter, weekly_runs=3, weekly_runs_per_client=2) as hook:
        for name in ("second", "third"):
            (hook.project.path(KEYS) / name).write_bytes(SECRET)
        assert hook.send(hook.sign()).status_code == 202
        clock.move(3_600)
        assert hook.send(hook.sign()).status_code == 202
        answer = hook.refuse(hook.sign(), 429, "weekly_runs")
        assert int(answer.headers["retry-after"]) == WEEK_SECONDS - 3_600
        assert hook.send(hook.sign(client="second")).status_code == 202
        assert "all clients" in hook.refuse(hook.sign(client="third"), 429, "weekly_runs").text
        hook.restart()
        hook.refuse(hook.sign(client="third"), 429, "weekly_runs")
        clock.move(WEEK_SECONDS - 3_600)
        assert hook.send(hook.sign()).status_code == 202


def test_a_client_may_send_so_many_requests_a_minute(tmp_path: Path, clock: ManualClock, starter: RecordingStarter) -> None:
    with limited_hook(tmp_path, clock, starter, requests_per_minute=6) as hook:
        for _ in range(6):
            assert hook.send(hook.sign(b"[]"), b"[]").status_code == 422
        answer = hook.send(hook.sign())
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate")
        assert int(answer.headers["retry-after"]) <= 10
        assert starter.calls == []


@pytest.mark.parametrize(
    "body",
    [
        {"snapshot": "s3://attacker/data.parquet"},
        {"columns": [], "arguments": {"snapshot": "x"}},
        {"columns": "amount"},
        {"columns": [1]},
        {"columns": ["x"] * 101},
        {"reason": "x" * 501},
        {"reason": None},
        [],
        "text",
    ],
)
def test_an_unknown_or_wrong_field_is_refused_so_that_no_message_names_data(hook: Hook, body: Any) -> None:
    content = json.dumps(body).encode()
    answer = hook.refuse(hook.sign(content), 422, "body", body=content)
    assert "attacker" not in answer.text
    assert "sluice.toml" in answer.json()["error"]["hint"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"commit": "main"}', b'{"commit": "' + b"A" * 40 + b'"}', b"{}"])
def test_a_code_event_needs_a_commit(hook: Hook, body: bytes) -> None:
    hook.refuse(hook.sign(body, path="/events/code"), 422, "body", body=body, path="/events/code")


def test_the_media_type_the_query_and_the_size_are_checked_before_the_signature(hook: Hook) -> None:
    hook.refuse(hook.sign() | {"Content-Type": "text/plain"}, 415, "media_type")
    hook.refuse(hook.sign() | {"Content-Encoding": "gzip"}, 415, "media_type")
    hook.refuse(hook.sign(), 400, "query", path="/events/drift?snapshot=x")
    large = b" " * 20_000
    hook.refuse(hook.sign(large), 413, "too_large", body=large)


def test_errors_name_neither_keys_nor_values(hook: Hook, capfd: pytest.CaptureFixture[str]) -> None:
    from sluice.triggers.service_logs import start_logs

    start_logs()
    hook.send(hook.sign(b'{"reason": "a private reason"}'), b'{"reason": "a private reason"}')
    hook.send(hook.sign(b'{"private": 1}'), b'{"private": 1}')
    hook.send(hook.sign() | {"Sluice-Signature": "v1=" + "5" * 64})
    logged = capfd.readouterr().err
    lines = [json.loads(line) for line in logged.splitlines()]
    assert [line["status"] for line in lines if line["event"] == "answered"] == [202, 422, 401]
    assert all(word not in logged for word in ("private", "5" * 64, SECRET.decode(), AUDIENCE))


def test_health_readiness_and_the_document(hook: Hook) -> None:
    assert hook.client.get("/healthz").json() == {"status": "alive"}
    assert hook.client.get("/readyz").json() == {"status": "ready"}
    assert set(hook.client.get("/openapi.json").json()["paths"]) == {"/events/drift", "/events/code", "/healthz", "/readyz"}
    assert hook.client.get("/events/drift").json()["error"]["code"] == "method"
    assert hook.client.get("/other").json()["error"]["code"] == "not_found"
    hook.storage.close()
    assert hook.client.get("/readyz").status_code == 503
    assert hook.send(hook.sign()).json()["error"]["code"] == "not_started"


def shown_series(hook: Hook) -> dict[str, float]:
    lines = hook.client.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_messages_and_starts_are_counted(hook: Hook) -> None:
    headers = hook.sign(key="k1")
    hook.send(headers)
    hook.refuse(headers, 409, "replayed")
    hook.refuse(hook.sign() | {"Sluice-Signature": "v1=" + "0" * 64}, 401, "signature")
    assert hook.send(hook.sign(key="k1", time=int(NOW) + 1)).status_code == 202  # the first answer again, without another run
    hook.starter.failure = ServiceError("the engine does not answer")
    hook.send(hook.sign())
    found = shown_series(hook)
    counted = {name: value for name, value in found.items() if value and "_created" not in name}
    assert counted == {
        'sluice_webhook_messages_total{answer="accepted",kind="drift"}': 2,
        'sluice_webhook_messages_total{answer="replayed",kind="drift"}': 1,
        'sluice_webhook_messages_total{answer="signature",kind="drift"}': 1,
        'sluice_webhook_messages_total{answer="not_started",kind="drift"}': 1,
        'sluice_webhook_starts_total{outcome="started"}': 1,
        'sluice_webhook_starts_total{outcome="failed"}': 1,
    }


def test_no_message_adds_a_series(hook: Hook) -> None:
    before = set(shown_series(hook))
    for number in range(20):
        hook.send(hook.sign(client=f"client{number}", key=f"key{number}"))
        hook.client.post(f"/events/{number}")
    hook.send(hook.sign() | {"content-type": "text/plain"})
    hook.client.post("/events/code?a=b", content=COMMIT)
    assert set(shown_series(hook)) == before


def test_each_answer_of_the_document_has_a_series() -> None:
    operation = describe_webhook()["paths"]["/events/drift"]["post"]
    named = {code for answer in operation["responses"].values() for code in re.findall(r"`(\w+)`", answer["description"])}
    assert named | {ACCEPTED, "unexpected"} == set(ANSWERS)
