"""A model server whose faults are switched while it runs: ``POST /fault`` with JSON, ``{}`` for none. Standard library alone.

``status``: answer predictions with it. ``delay``: seconds before an answer. ``share``: of the predictions that this happens to.
``probability``: what it answers instead of 0.5. ``ready``: false fails the readiness probe. ``crash``: end now, and whenever this
container starts again. Its last requests are at ``GET /recent``, as the real one's are where a shadow is wanted.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import deque
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

RELEASE = os.environ.get("SLUICE_RELEASE_DIGEST", "")
PORT = int(os.environ.get("PREDICTIVE_UNIT_HTTP_SERVICE_PORT", "9000"))
KEEPS = int(os.environ.get("SLUICE_RECENT_REQUESTS") or 0)
KEPT = Path("/tmp/fault.json")  # noqa: S108 - a volume of the Pod, which outlives the container
CRASHED = 3
STARTED = time.time()


def read_fault() -> dict[str, Any]:
    """The present fault."""
    return dict(json.loads(KEPT.read_text())) if KEPT.exists() else {}


class Handler(BaseHTTPRequestHandler):
    """Predictions, health and the switch."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fault: dict[str, Any] = {}  # noqa: RUF012 - the switch of the whole process
    recent: deque[dict[str, Any]] = deque(maxlen=KEEPS)  # noqa: RUF012 - of the whole process
    number = 0

    def do_GET(self) -> None:
        """Health, or the last requests."""
        if self.path == "/recent":
            self._answer(200 if KEEPS else 404, {"server": str(STARTED), "requests": list(self.recent)})
            return
        self._answer(200 if self.fault.get("ready", True) else 503, {"release": RELEASE})

    def do_POST(self) -> None:
        """A prediction, or the switch."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/fault":
            KEPT.write_bytes(body)
            type(self).fault = read_fault()
            self._answer(200, self.fault)
            if self.fault.get("crash"):
                os._exit(CRASHED)
            return
        hit = random.random() < self.fault.get("share", 1.0)  # noqa: S311
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
        self._answer(status, answer)

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    Handler.fault = read_fault()
    if Handler.fault.get("crash") or "--broken" in sys.argv:
        sys.exit(CRASHED)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()  # noqa: S104 - a Pod's
