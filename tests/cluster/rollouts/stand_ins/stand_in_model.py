"""A model server whose fault can be changed while it runs. It needs the standard library, and the module of a server's faults.

``POST /fault`` takes the fault as JSON; ``{}`` means none. These are its keys:

- ``status``: the status of predictions.
- ``delay``: seconds before a prediction is answered.
- ``share``: the share of predictions that ``status`` and ``delay`` apply to, from 0 to 1.
- ``only``: a text; ``status`` and ``delay`` apply only to predictions whose request contains it.
- ``probability``: the answer instead of 0.5.
- ``ready``: if false, the readiness probe fails.
- ``hang``: if true, no request is answered any more, nor a probe, until the process is started again.
- ``start_seconds``: how long the process needs until it answers, when it is started again.
- ``crash``: if true, the process ends now and whenever this container starts again.

Like the real server, it gives its last requests at ``GET /recent`` if a shadow needs them, and at ``GET /faults`` the requests
that it rejected and what failed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections import deque
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sluice.scoring.faults import FAULTS_PATH, FAULTS_VARIABLE, Faults

RELEASE = os.environ.get("SLUICE_RELEASE_DIGEST", "")
PORT = int(os.environ.get("PREDICTIVE_UNIT_HTTP_SERVICE_PORT", "9000"))
RECENT_REQUESTS = int(os.environ.get("SLUICE_RECENT_REQUESTS") or 0)
FAULT_FILE = Path("/tmp/fault.json")  # noqa: S108 - a volume of the Pod, which remains when the container restarts
CRASHED = 3
STARTED = time.time()
HANGING = threading.Event()
"""Is never set."""


def read_fault() -> dict[str, Any]:
    """Return the fault that was set last."""
    return dict(json.loads(FAULT_FILE.read_text())) if FAULT_FILE.exists() else {}


class Handler(BaseHTTPRequestHandler):
    """Answer predictions, health checks and changes of the fault."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fault: dict[str, Any] = {}  # noqa: RUF012 - shared by the whole process
    recent: deque[dict[str, Any]] = deque(maxlen=RECENT_REQUESTS)  # noqa: RUF012 - shared by the whole process
    faults = Faults()
    number = 0

    def parse_request(self) -> bool:
        """Read a request, and never go on with it while the server hangs."""
        parsed = super().parse_request()
        if self.fault.get("hang"):
            HANGING.wait()
        return parsed

    def do_GET(self) -> None:
        """Answer a health check, or give the last requests or the faults."""
        if self.path == "/recent":
            self._answer(200 if RECENT_REQUESTS else 404, {"server": str(STARTED), "requests": list(self.recent)})
            return
        if self.path.startswith(FAULTS_PATH):
            after = parse_qs(urlsplit(self.path).query).get("after", ["0"])[0]
            self._answer(200 if self.faults.is_enabled else 404, self.faults.to_dict(int(after)))
            return
        self._answer(200 if self.fault.get("ready", True) else 503, {"release": RELEASE})

    def do_POST(self) -> None:
        """Answer a prediction, or change the fault."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/fault":
            FAULT_FILE.write_bytes(body)
            type(self).fault = read_fault()
            FAULT_FILE.write_text(json.dumps(self.fault | {"hang": False}))
            self._answer(200, self.fault)
            if self.fault.get("crash"):
                os._exit(CRASHED)
            return
        hit = random.random() < self.fault.get("share", 1.0) and self.fault.get("only", "").encode() in body  # noqa: S311
        time.sleep(self.fault.get("delay", 0.0) if hit else 0.0)
        answer = {
            "data": {"names": ["probability"], "ndarray": [[self.fault.get("probability", 0.5)]]},
            "meta": {"tags": {"release": RELEASE}},
        }
        status = int(self.fault.get("status", 200)) if hit else 200
        if status == HTTPStatus.OK:
            type(self).number += 1
            data = json.loads(body or b"{}").get("data", {})
            self.recent.append({"number": self.number, "data": data, "probabilities": [answer["data"]["ndarray"][0][0]]})
        elif status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self.faults.add_rejected(body, self.headers.get("content-type", ""), "the stand-in rejects it")
        else:
            self.faults.add_failure(f"status {status}", "the stand-in fails")
        self._answer(status, answer)

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    Handler.fault = read_fault()
    Handler.faults.start(os.environ.get(FAULTS_VARIABLE, ""))
    if Handler.fault.get("crash") or "--broken" in sys.argv:
        sys.exit(CRASHED)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    time.sleep(Handler.fault.get("start_seconds", 0.0))
    ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()  # noqa: S104 - the Pod must be reachable
