"""The controller's HTTP server: ``/metrics`` for Prometheus, and ``/healthz`` for the kubelet."""

from __future__ import annotations

import contextlib
import threading
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sluice.errors import PortInUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from sluice.rollout.platforms.seldon.telemetry import Metrics

HEALTH_PATH = "/healthz"

STALLED_SECONDS = 120.0
"""After this time without a round, the controller counts as hanging. A round ends after 7 s if the API server does not answer,
and
after 75 s if each of its 15 calls, the most that a round makes, takes 5 s."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing, because the kubelet asks every few seconds."""


@contextlib.contextmanager
def serve_metrics(metrics: Metrics, port: int | None, notify: Callable[[str], object]) -> Iterator[int | None]:
    """Serve metrics and health on all interfaces, and yield the port.

    Args:
        metrics: The controller's metrics.
        port: The port. None starts no server; 0 chooses a free port.
        notify: Called with one line that names the port.

    Raises:
        PortInUseError: The port cannot be used.
    """
    if port is None:
        yield None
        return
    try:
        server = make_server("", port, build_app(metrics), _Server, _QuietHandler)
    except OSError as error:
        raise PortInUseError(f"port {port} cannot be used: {error}", hint="Choose another port with --port.") from error
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="metrics")
    thread.start()
    notify(f"metrics on port {server.server_port}")
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def build_app(metrics: Metrics) -> WSGIApplication:
    """Return a WSGI application that answers the health at ``/healthz`` and the metrics at every other path."""
    from prometheus_client import make_wsgi_app  # noqa: PLC0415 - only a controller needs it

    answer_metrics: WSGIApplication = make_wsgi_app(metrics.registry)

    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environment.get("PATH_INFO") != HEALTH_PATH:
            return answer_metrics(environment, start)
        age = metrics.round_age()
        start("200 OK" if age < STALLED_SECONDS else "503 Service Unavailable", [("content-type", "text/plain")])
        return [f"the last round ended {age:.0f} s ago\n".encode()]

    return answer
