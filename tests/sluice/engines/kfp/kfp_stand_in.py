"""An HTTP server in place of KFP's user interface and API.

It answers for the API with the fields of ``backend/api/v2beta1`` of KFP 2.17.0. For ML Metadata it has recorded answers of ML
Metadata 1.17.1, found by the exact bytes of the request.
"""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from kfp_nodes import list_nodes

ROOT = Path(__file__).parents[4]
PROMOTED, FAILED = (f"11111111-aaaa-4000-8000-00000000000{number}" for number in (1, 2))
START = datetime(2026, 11, 30, 5, tzinfo=UTC)
PIPELINE = {"pipeline_id": "p1", "display_name": "churn-release"}
BEFORE = ("pin-snapshot", "code-tests", "data-tests", "train", "model-tests")
RELEASED = ("package", "integration-tests", "approval", "canary")
STEPS = (*BEFORE, "gate", *RELEASED)


def describe_run(run: str, *, waits: bool = False) -> dict[str, Any]:
    """Return a run as the API describes it; on demand at the time when it waits for its approval."""
    failed = run == FAILED
    before = [(name, "FAILED" if failed and name == BEFORE[-1] else "SUCCEEDED") for name in BEFORE]
    released = [(name, "SUCCEEDED") for name in RELEASED]
    if waits:
        released = [*released[:2], ("approval", "RUNNING")]
    after = [("gate", "SUCCEEDED"), ("condition-1", "RUNNING" if waits else "SUCCEEDED", *released)]
    details = list_nodes(*before, *([] if failed else after), start=START)
    for node in details:
        node |= {name: node[name].isoformat() for name in ("start_time", "end_time")}
    return {
        "experiment_id": "e1",
        "run_id": run,
        "display_name": "churn-release-1",
        "state": "FAILED" if failed else "RUNNING" if waits else "SUCCEEDED",
        "created_at": "2026-11-30T05:00:00Z",
        "finished_at": "2026-11-30T05:10:00Z",
        "pipeline_version_reference": {"pipeline_id": "p1", "pipeline_version_id": "v1"},
        "run_details": {"task_details": details},
    }


class KfpStandIn:
    """The server.

    Attributes:
        objects: ``bucket/key`` → bytes that the user interface serves.
        logs: Name of a pod → its log.
        is_ui: Whether it serves ML Metadata and artifacts too, as the user interface does and the API does not.
        waits: Whether the run that ends with a promotion still waits for its approval.
        asked: The paths that were asked for.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.logs: dict[str, str] = {}
        self.is_ui = True
        self.waits = False
        self.asked: list[str] = []
        recorded = json.loads((Path(__file__).parent / "recorded_metadata.json").read_text())
        self._metadata = {(each["method"], each["request"]): base64.b64decode(each["answer"]) for each in recorded["calls"]}
        handler = type("Handler", (_Handler,), {"owner": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        """Answer a GET."""
        parts = path.strip("/").split("/")
        if parts[:2] == ["artifacts", "get"] and self.is_ui:
            found = self.objects.get(f"{query['bucket'][0]}/{query['key'][0]}")
            return (200, found) if found is not None else (500, b"Failed to get object in bucket")
        if parts[:2] == ["apis", "v1alpha1"]:
            log = self.logs.get(parts[5])
            return 200, log.encode() if log is not None else b'{"error_message": "no such pod"}'
        return self._describe(parts) if parts[:2] == ["apis", "v2beta1"] else (404, b"{}")

    def _describe(self, parts: list[str]) -> tuple[int, bytes]:
        """Answer a GET of the API."""
        kind = parts[2]
        documents: dict[str, Any] = {
            "healthz": {"multi_user": False},
            "pipelines": PIPELINE if len(parts) > 3 else {"pipelines": [PIPELINE], "total_size": 1},
            "experiments": {"experiments": [{"experiment_id": "e1", "display_name": "churn"}]},
        }
        if parts[-1] == "v1":
            ir = yaml.safe_load((ROOT / "pipelines" / "compiled" / "kfp" / "release.yaml").read_text())
            return 200, json.dumps({"pipeline_id": "p1", "pipeline_version_id": "v1", "pipeline_spec": ir}).encode()
        if parts[-1] == "versions":  # whatever the IR is, its version is there, so that nothing is uploaded
            return 200, json.dumps({"pipeline_versions": [{"pipeline_id": "p1", "pipeline_version_id": "v1"}]}).encode()
        if kind == "runs":
            runs = [describe_run(PROMOTED, waits=self.waits), describe_run(FAILED)]
            named = next((run for run in runs if run["run_id"] == parts[-1]), None)
            if len(parts) > 3 and named is None:
                return 404, b'{"message": "run not found"}'
            return 200, json.dumps(named or {"runs": runs, "total_size": len(runs)}).encode()
        return (200, json.dumps(documents[kind]).encode()) if kind in documents else (404, b"{}")

    def ask_metadata(self, method: str, body: bytes) -> bytes | None:
        """Return the recorded answer of ML Metadata; None if this request was never made of it."""
        return self._metadata.get((method, base64.b64encode(body).decode())) if self.is_ui else None


class _Handler(BaseHTTPRequestHandler):
    owner: KfpStandIn

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.owner.asked.append(self.path)
        self._send(*self.owner.answer(url.path, parse_qs(url.query)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.owner.asked.append(self.path)
        if self.path.startswith("/apis/v2beta1/runs"):  # a run that ends at once
            return self._send(200, json.dumps(describe_run(PROMOTED)).encode())
        found = self.owner.ask_metadata(self.path.rpartition("/")[2], body)
        return self._send(404 if found is None else 200, found or b"404 page not found")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
