"""A stand-in for Seldon's executor: it passes predictions on to the model and counts them. It needs only the standard library.

It behaves as executor 1.17.1 was seen to behave:

- The metrics contain a series only for status codes that occurred.
- If the connection to the model times out, is refused or breaks, the answer has status 500.
- The model's own status codes are passed on.
- The executor is ready if the model's port accepts connections.
- On SIGTERM it accepts no new connections.

It has two additions. The header ``x-predictor`` names the predictor that answered. ``POST /fault`` takes a fault as JSON:
``{"metrics": false}`` lets requests for the metrics fail, ``{"delay": 9}`` answers them 9 s later, ``{"reset": true}`` sets the
counters to 0, and ``{"exit": true}`` ends the process.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT, MODEL = 8000, ("127.0.0.1", 9000)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
SERIES = "seldon_api_executor_server_requests_seconds"
PREDICTOR, DEPLOYMENT = os.environ["PREDICTOR"], os.environ["DEPLOYMENT"]
TIMEOUT = float(os.environ.get("REST_TIMEOUT_MS") or 0) / 1000 or None


class Handler(BaseHTTPRequestHandler):
    """Handle one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    counts: Counter[int] = Counter()  # noqa: RUF012 - shared by the whole process
    within_bound: Counter[tuple[int, float]] = Counter()  # noqa: RUF012 - by status code and bound
    lock = threading.Lock()
    fault: dict[str, Any] = {}  # noqa: RUF012 - shared by the whole process
    busy = 0
    leaving = False
    _model: http.client.HTTPConnection | None = None

    def do_GET(self) -> None:
        """Answer health checks, and give the metrics."""
        if self.path == "/prometheus":
            time.sleep(self.fault.get("delay", 0.0))
            broken = not self.fault.get("metrics", True)
            return (
                self._answer(500, b"the metrics are switched off")
                if broken
                else self._answer(200, write_metrics(), "text/plain; version=0.0.4")
            )
        if self.path == "/ready":
            try:
                socket.create_connection(MODEL, 1).close()
            except OSError:
                return self._answer(503, b"")
        return self._answer(200, b"")

    def do_POST(self) -> None:
        """Pass a prediction on, or change the fault."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/fault":
            type(self).fault = json.loads(body)
            self._answer(200, b"{}")
            if self.fault.get("reset"):
                with self.lock:
                    self.counts.clear()
                    self.within_bound.clear()
            if self.fault.get("exit"):
                os._exit(1)
            return
        with self.lock:
            type(self).busy += 1
        begun = time.monotonic()
        status, answer = self._predict(body)
        took = time.monotonic() - begun
        with self.lock:
            self.counts[status] += 1
            self.within_bound.update((status, bound) for bound in BOUNDS if took <= bound)
        self._answer(status, answer)
        with self.lock:
            type(self).busy -= 1

    def _predict(self, body: bytes) -> tuple[int, bytes]:
        try:
            if self._model is None:
                self._model = http.client.HTTPConnection(*MODEL, timeout=TIMEOUT)
            self._model.request("POST", "/predict", body, {"content-type": "application/json"})
            found = self._model.getresponse()
            return found.status, found.read()
        except (OSError, http.client.HTTPException) as error:
            if self._model is not None:
                self._model.close()
            self._model = None
            return 500, json.dumps({"status": {"code": 500, "info": str(error), "status": "FAILURE"}}).encode()

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-predictor", PREDICTOR)
        if self.leaving:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def write_metrics() -> bytes:
    """Return the metrics: the histogram, and a summary with a similar name that a reader must not count."""
    with Handler.lock:
        counts, within_bound = dict(Handler.counts), Counter(Handler.within_bound)
    lines = [f"# TYPE {SERIES} histogram"] if counts else []
    labels = {
        code: f'code="{code}",deployment_name="{DEPLOYMENT}",method="post",predictor_name="{PREDICTOR}",'
        f'predictor_version="{PREDICTOR}",service="predictions"'
        for code in counts
    }
    for code, count in counts.items():
        lines += [f'{SERIES}_bucket{{{labels[code]},le="{bound:g}"}} {within_bound[code, bound]}' for bound in BOUNDS]
        lines += [
            f'{SERIES}_bucket{{{labels[code]},le="+Inf"}} {count}',
            f"{SERIES}_sum{{{labels[code]}}} {count * 0.005}",
            f"{SERIES}_count{{{labels[code]}}} {count}",
        ]
    lines += [f"# TYPE {SERIES}_summary summary"] if counts else []
    lines += [f"{SERIES}_summary_count{{{labels[code]}}} {count}" for code, count in counts.items()]
    return "\n".join([*lines, ""]).encode()


class Server(ThreadingHTTPServer):
    """A server that can queue many connections at once."""

    request_queue_size = 128
    daemon_threads = True


def main() -> None:
    """Serve until SIGTERM. Then accept no more connections, answer the requests that are being served, and end."""
    server = Server(("0.0.0.0", PORT), Handler)  # noqa: S104 - the Pod must be reachable
    leaving = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    leaving.wait()
    Handler.leaving = True
    server.shutdown()
    server.socket.close()
    quiet = time.monotonic() + 1.0
    while time.monotonic() < quiet:
        time.sleep(0.05)
        if Handler.busy:
            quiet = time.monotonic() + 0.5
    os._exit(0)


if __name__ == "__main__":
    main()
