"""What the tests of the triggers share: a project, a clock, a starter, requests, signed messages, and a running server."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sluice.drift.batches import FrameRows
from sluice.drift.references import freeze_reference
from sluice.project.projects import Project
from sluice.project.settings import Settings
from sluice.rollout.clocks import Clock
from sluice.triggers.http_server import build_server, open_socket
from sluice.triggers.monitor.events import REQUEST_TYPE, Event
from sluice.triggers.webhook.signatures import SignedMessage, make_headers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sluice.drift.references import DriftReference
    from sluice.errors import SluiceError

NOW = 1_800_000_000.0
SECRET = b"a key of the client that has more than 32 bytes"
AUDIENCE = "https://hooks.example.com/small"
REFERENCE_FILE = "reference.json"
KEYS = "keys"
_numbers = itertools.count()


@dataclass
class ManualClock:
    """A clock that only the test moves."""

    time: float = NOW

    def move(self, seconds: float) -> None:
        self.time += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.time, steady=lambda: self.time, sleep=self.move)


@dataclass
class RecordingStarter:
    """Records what it is asked to start. As an engine does, it starts each key once."""

    calls: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    failure: SluiceError | None = None

    def submit(self, pipeline: str, arguments: Mapping[str, Any], *, key: str = "") -> str:
        if self.failure is not None:
            raise self.failure
        self.calls.append((pipeline, dict(arguments), key))
        return self.runs.setdefault(key, f"run-{len(self.runs) + 1}")

    def close(self) -> None:
        pass


def make_project(root: Path, **tables: Mapping[str, Any]) -> Project:
    """Return a project with short windows: slices of 60 s, windows of 300 s, a cooldown of 3,600 s."""
    monitor = {
        "window_seconds": 300.0,
        "slice_seconds": 60.0,
        "cooldown_seconds": 3_600.0,
        "least_rows": 1_000,
        "reference": REFERENCE_FILE,
        "reference_seconds": 10.0,
        "flush_seconds": 30.0,
        "port": 0,
    }
    webhook = {"audience": AUDIENCE, "keys": KEYS, "requests_per_minute": 1_000, "port": 0}
    found: dict[str, Any] = {
        "project": {"name": "small"},
        "data": {"snapshot": "data/newest.parquet", "holdout": "h", "load": "m:f", "label": "l", "id": "i"},
        "model": {"build": "m:f"},
        "monitor": monitor | dict(tables.get("monitor", {})),
        "webhook": webhook | dict(tables.get("webhook", {})),
    }
    (root / KEYS).mkdir(exist_ok=True)
    (root / KEYS / "ci").write_bytes(SECRET + b"\n")
    return Project(root, Settings(**found))


def make_frame(rows: int, rng: np.random.Generator, *, shift: float = 0.0) -> pd.DataFrame:
    """Return rows of a number, a number with gaps, a category and a boolean. `shift` moves the first, in standard deviations."""
    return pd.DataFrame(
        {
            "amount": rng.normal(size=rows) + shift,
            "age": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(40, 10, rows).round()),
            "zone": rng.choice(["north", "south", "east"], rows, p=[0.5, 0.3, 0.2]),
            "member": rng.random(rows) < 0.4,
        }
    )


def make_reference(*, seed: int = 1, rows: int = 5_000, shift: float = 0.0) -> DriftReference:
    frame = make_frame(rows, np.random.default_rng(seed), shift=shift)
    return freeze_reference(FrameRows(lambda: [frame], "training.parquet"))


def write_reference(project: Project, reference: DriftReference) -> None:
    project.path(REFERENCE_FILE).write_text(json.dumps(reference.to_dict()))


def make_request(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a request of the V1 protocol with all rows of a frame."""
    rows = json.loads(frame.to_json(orient="values", double_precision=15))
    return {"data": {"names": list(frame.columns), "ndarray": rows}}


def make_event(frame: pd.DataFrame) -> Event:
    return Event(next(_numbers), make_request(frame))


def make_binary_headers(name: str = "", kind: str = REQUEST_TYPE) -> dict[str, str]:
    """Return the headers that the request logger of Seldon Core 1.17.1 sends."""
    return {
        "ce-specversion": "1.0",
        "ce-id": name or f"event-{next(_numbers)}",
        "ce-type": kind,
        "ce-source": "http://localhost:8000/",
        "ce-time": "2026-11-30T05:31:04.123456789Z",
        "ce-modelid": "model",
        "ce-requestid": "2f3c2a1e",
        "ce-inferenceservicename": "small",
        "ce-namespace": "sluice-production",
        "ce-endpoint": "champion",
        "ce-protocol": "seldon",
        "content-type": "application/json",
    }


def sign_message(body: bytes, *, secret: bytes = SECRET, **changes: Any) -> dict[str, str]:
    """Return the headers of a signed message to `/events/drift`. Keyword arguments change parts of it."""
    parts: dict[str, Any] = {
        "time": int(NOW),
        "project": "small",
        "audience": AUDIENCE,
        "client": "ci",
        "path": "/events/drift",
        "key": f"key-{next(_numbers)}",
    }
    return make_headers(SignedMessage(**(parts | changes), body=body), secret) | {"Content-Type": "application/json"}


@contextlib.contextmanager
def running(app: Any, *, short: bool = True) -> Iterator[str]:
    """Serve an application in a thread, with its short way if it has one, and yield its URL."""
    listening = open_socket(0)
    server = build_server(app, getattr(app, "short_way", None) if short else None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    port = listening.getsockname()[1]
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def connect(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=30)
