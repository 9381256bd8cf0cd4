"""Both services as a person starts them: real processes, real signatures by other programs, and runs on the real local engine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pandas as pd
import pytest
from guards import GUARD_SECONDS
from trigger_services import make_binary_headers, make_frame, make_reference, make_request
from typer.testing import CliRunner

from sluice.cli import app
from sluice.errors import ConfigurationError, DataError
from sluice.project.projects import read_project
from sluice.rollout.requests.statuses import read_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[3]
AUDIENCE = "https://hooks.example.com/churn"
KEY = "8f1c2d3e4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"

TOML = """
[project]
name = "small"
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "retraining:load"
label = "y"
id = "id"
[model]
build = "retraining:build"
[pipelines]
retrain = "retraining:retrain"
"""

SETTINGS = {
    "SLUICE_MONITOR__WINDOW_SECONDS": "2",
    "SLUICE_MONITOR__SLICE_SECONDS": "1",
    "SLUICE_MONITOR__LEAST_ROWS": "500",
    "SLUICE_MONITOR__REFERENCE": "reference.json",
    "SLUICE_MONITOR__FLUSH_SECONDS": "0.5",
    "SLUICE_WEBHOOK__AUDIENCE": AUDIENCE,
    "SLUICE_WEBHOOK__KEYS": "keys",
    "SLUICE_WEBHOOK__REQUESTS_PER_MINUTE": "1000",
}
"""The settings come from the environment, as in the manifests."""

FLOW = """
from kfp import dsl


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def say(word: str) -> str:
    from sluice.steps.records import running_step

    with running_step("say") as step:
        step.detail = word or "the snapshot of sluice.toml"
    return word


@dsl.pipeline(name="retrain")
def retrain(snapshot: str = ""):
    say(word=snapshot)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "sluice.toml").write_text(TOML)
    (tmp_path / "retraining.py").write_text(FLOW)
    (tmp_path / "rows.csv").write_text("id,y\n1,0\n")
    (tmp_path / "holdout.csv").write_text("id,y\n2,0\n")
    (tmp_path / "reference.json").write_text(json.dumps(make_reference().to_dict()))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "ci").write_text(f"{KEY}\n")
    return tmp_path


@contextlib.contextmanager
def running_service(*arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """Start a service on any free port, and yield its process, its URL and the lines of its log so far."""
    command = [sys.executable, "-m", "sluice", *arguments, "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"} | variables
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY
    )
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()))
    reader.start()
    try:
        found = re.search(r"on port (\d+)", process.stdout.readline())
        assert found, process.communicate()[1]
        url = f"http://127.0.0.1:{found[1]}"
        wait_for(lambda: is_ready(url))
        yield process, url, lines
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(GUARD_SECONDS)
        reader.join(GUARD_SECONDS)
        process.stdout.close()
        process.stderr.close()


@contextlib.contextmanager
def running_supervisor() -> Iterator[None]:
    """Run `sluice serve`, without which the pipeline starts nothing on this machine."""
    process = subprocess.Popen([sys.executable, "-m", "sluice", "serve"], stdout=subprocess.DEVNULL, cwd=REPOSITORY)
    try:
        wait_for(lambda: read_status(read_project(REPOSITORY)).supervised)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(GUARD_SECONDS)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.ConnectError:
        return False


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + GUARD_SECONDS
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.05)


def read_runs(state: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(state.glob("runs/*/run.json"))]


def sign(folder: Path, body: Path, *more: str) -> list[str]:
    arguments = ["webhook", "sign", "drift", str(body), "--client", "ci", "--key-file", str(folder / "keys" / "ci")]
    ended = CliRunner().invoke(app, [*arguments, "--project", str(folder), *more])
    assert ended.exit_code == 0, ended.output
    return ended.output.splitlines()


@pytest.mark.slow
def test_drifted_events_start_exactly_one_run_on_the_local_engine(folder: Path) -> None:
    rng = np.random.default_rng(1)
    with running_service("monitor", "--project", str(folder)) as (process, url, lines):

        def send() -> bool:
            body = json.dumps(make_request(make_frame(500, rng, shift=0.8)))
            assert httpx.post(f"{url}/events", content=body, headers=make_binary_headers(), trust_env=False).status_code == 202
            return any('"a retraining was started"' in line for line in lines)

        wait_for(send)
        for _ in range(20):
            send()
        wait_for(lambda: [run["outcome"] for run in read_runs(folder / ".sluice")] == ["passed"])
    assert process.returncode == 0
    (run,) = read_runs(folder / ".sluice")
    assert (run["pipeline"], run["arguments"]) == ("retrain", {})
    assert {step["outcome"] for step in run["steps"]} == {"pass"}
    state = json.loads((folder / ".sluice" / "monitor.json").read_text())
    assert state["start"]["run"] == run["id"]
    logged = [json.loads(line) for line in lines]
    assert [line["event"] for line in logged][-1] == "monitor ended"
    assert all(set(line) >= {"time", "level", "event"} for line in logged)


@pytest.mark.slow
def test_curl_sends_what_sluice_and_openssl_sign_and_sigterm_ends_the_webhook_cleanly(folder: Path) -> None:
    body = folder / "body.json"
    body.write_text('{"columns": ["amount"]}')
    headers = folder / "headers.txt"
    with running_service("webhook", "--project", str(folder)) as (process, url, lines):
        headers.write_text("\n".join(sign(folder, body, "--idempotency-key", "one")))
        curl = ["curl", "-sS", "--noproxy", "*", "--header", f"@{headers}", "--data-binary", f"@{body}", f"{url}/events/drift"]
        first = json.loads(subprocess.run(curl, capture_output=True, text=True, check=True).stdout)
        assert (first["pipeline"], first["key"]) == ("retrain", "one")
        replayed = json.loads(subprocess.run(curl, capture_output=True, text=True, check=True).stdout)
        assert replayed["error"]["code"] == "replayed"
        second = subprocess.run(["bash", "-euc", read_script()], capture_output=True, text=True, check=True, cwd=folder,
                                env=os.environ | {"URL": url, "no_proxy": "*"})  # fmt: skip
        assert json.loads(second.stdout)["key"] == "two"
        wait_for(lambda: [run["outcome"] for run in read_runs(folder / ".sluice")] == ["passed"] * 2)
    assert process.returncode == 0
    assert KEY not in "".join(lines)


def read_script() -> str:
    """Return the script of the page for senders without Sluice, with the names of this test."""
    page = (REPOSITORY / "docs" / "how-to" / "drift.md").read_text(encoding="utf-8")
    script = re.search(r"```bash\n(time=.*?)```", page, re.DOTALL)
    assert script
    changes = {
        "https://hooks.example.com/events": "$URL/events",
        "/etc/keys/ci": "keys/ci",
        "churn\\n": "small\\n",
        "a-new-key": "two",
    }
    found = script[1]
    for old, new in changes.items():
        assert old in found, old
        found = found.replace(old, new)
    return found


@pytest.mark.slow
def test_drift_that_is_broken_data_never_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The webhook starts the pipeline of the example, whose data tests find that the newest snapshot is broken."""
    frame = pd.read_parquet(REPOSITORY / "data" / "customers.parquet")
    in_cents = (frame["monthly_spend"] * 100).clip(upper=9_999)
    frame.assign(monthly_spend=in_cents).to_parquet(tmp_path / "broken.parquet")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "ci").write_text(KEY)
    body = tmp_path / "body.json"
    body.write_text('{"reason": "monthly_spend has drifted"}')
    variables = {
        "SLUICE_STATE": str(tmp_path / "state"),
        "SLUICE_SERVING__PORT": "0",
        "SLUICE_DATA__SNAPSHOT": str(tmp_path / "broken.parquet"),
        "SLUICE_WEBHOOK__AUDIENCE": AUDIENCE,
        "SLUICE_WEBHOOK__KEYS": str(tmp_path / "keys"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with running_supervisor(), running_service("webhook", "--project", str(REPOSITORY)) as (_, url, _):
        arguments = ["webhook", "sign", "drift", str(body), "--client", "ci", "--key-file", str(tmp_path / "keys" / "ci")]
        ended = CliRunner().invoke(app, [*arguments, "--audience", AUDIENCE, "--project", str(REPOSITORY), "--output", "json"])
        signed = json.loads(ended.output)["data"]["headers"]
        answer = httpx.post(f"{url}/events/drift", content=body.read_bytes(), headers=signed, trust_env=False)
        assert answer.status_code == 202, answer.text
        wait_for(lambda: [run["outcome"] for run in read_runs(tmp_path / "state")] == ["failed"])
    (run,) = read_runs(tmp_path / "state")
    outcomes = {step["name"]: step["outcome"] for step in run["steps"]}
    assert outcomes.get("data-tests") == "fail", run["reason"]
    assert "train" not in outcomes
    assert "monthly_spend" in run["reason"]


def test_the_services_say_what_is_missing_in_sluice_toml(folder: Path) -> None:
    for change, command, expected in (
        ({"SLUICE_MONITOR__ENGINE": "nowhere"}, "monitor", "there is no engine 'nowhere'"),
        ({"SLUICE_WEBHOOK__KEYS": "no-folder"}, "webhook", "webhook.keys names no folder"),
        ({"SLUICE_MONITOR__SLICE_SECONDS": "9"}, "monitor", "window_seconds must be 1 to 1,000 times slice_seconds"),
    ):
        ended = CliRunner().invoke(app, [command, "--project", str(folder)], env=change)
        assert ended.exit_code == 1
        assert expected in str(ended.exception)
    (folder / "keys" / "ci").write_text("short")
    ended = CliRunner().invoke(app, ["webhook", "--project", str(folder)])
    assert isinstance(ended.exception, DataError)
    assert "at least 32 are needed" in ended.exception.message
    (folder / "keys" / "ci").unlink()
    ended = CliRunner().invoke(app, ["webhook", "--project", str(folder)])
    assert isinstance(ended.exception, ConfigurationError)


def test_a_message_is_signed_only_if_it_can_be_accepted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = folder / "body.json"
    body.write_text("{}")
    key = str(folder / "keys" / "ci")
    lines = sign(folder, body)
    assert [line.partition(":")[0] for line in lines] == [
        "Sluice-Timestamp",
        "Sluice-Client",
        "Idempotency-Key",
        "Sluice-Signature",
        "Content-Type",
    ]
    for arguments, expected in (
        (["nothing", str(body), "--client", "ci", "--key-file", key], "there is no event"),
        (["drift", str(body), "--client", "C I", "--key-file", key], "not allowed"),
        (["drift", str(folder / "none"), "--client", "ci", "--key-file", key], "there is no file"),
        (["drift", str(body), "--client", "ci", "--key-file", str(body)], "at least 32 are needed"),
        (["drift", str(body), "--client", "ci", "--key-file", str(folder / "none")], "cannot be read"),
    ):
        ended = CliRunner().invoke(app, ["webhook", "sign", *arguments, "--project", str(folder)])
        assert expected in str(ended.exception)
    monkeypatch.delenv("SLUICE_WEBHOOK__AUDIENCE")
    without = ["webhook", "sign", "drift", str(body), "--client", "ci", "--key-file", key, "--project", str(folder)]
    ended = CliRunner().invoke(app, without)
    assert "the message has no audience" in str(ended.exception)
