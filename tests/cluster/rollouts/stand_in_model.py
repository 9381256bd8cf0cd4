"""A model server whose faults are switched while it runs: ``POST /fault`` with JSON, ``{}`` for none. Standard library alone.

``status``: answer predictions with it. ``delay``: seconds before an answer. ``share``: of the predictions that this happens to.
``ready``: false fails the readiness probe. ``crash``: end now, and whenever this container starts again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

RELEASE = os.environ.get("SLUICE_RELEASE_DIGEST", "")
PORT = int(os.environ.get("PREDICTIVE_UNIT_HTTP_SERVICE_PORT", "9000"))
KEPT = Path("/tmp/fault.json")  # noqa: S108 - a volume of the Pod, which outlives the container
CRASHED = 3


def read_fault() -> dict[str, Any]:
    """The present fault."""
    return dict(json.loads(KEPT.read_text())) if KEPT.exists() else {}


class Handler(BaseHTTPRequestHandler):
    """Predictions, health and the switch."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    fault: dict[str, Any] = {}  # noqa: RUF012 - the switch of the whole process

    def do_GET(self) -> None:
        """Health."""
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
        answer = {"data": {"names": ["probability"], "ndarray": [[0.5]]}, "meta": {"tags": {"release": RELEASE}}}
        self._answer(int(self.fault.get("status", 200)) if hit else 200, answer)

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
