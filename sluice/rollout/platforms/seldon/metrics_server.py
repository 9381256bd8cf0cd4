"""Where a controller is asked how it is: ``/metrics`` for Prometheus, ``/healthz`` for the kubelet."""

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
"""A controller whose last round is longer ago hangs. An API server that says nothing ends one after 7 s; one that takes 5 s for
each of 15 calls, the most there are, after 75 s."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: the kubelet asks every few seconds."""


@contextlib.contextmanager
def serve_metrics(metrics: Metrics, port: int | None, notify: Callable[[str], object]) -> Iterator[int | None]:
    """Answer on a port of all interfaces; gives the port.

    Args:
        metrics: The controller's.
        port: None for no server, 0 for a free one.
        notify: Told the port.

    Raises:
        PortInUseError: The port cannot be had.
    """
    if port is None:
        yield None
        return
    try:
        server = make_server("", port, plan_app(metrics), _Server, _Quiet)
    except OSError as error:
        raise PortInUseError(f"port {port} cannot be had: {error}", hint="Choose another with --port.") from error
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="metrics")
    thread.start()
    notify(f"metrics on port {server.server_port}")
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def plan_app(metrics: Metrics) -> WSGIApplication:
    """Both paths as one WSGI application; every path but that of the health has the metrics."""
    from prometheus_client import make_wsgi_app  # noqa: PLC0415 - only a controller needs it

    tell: WSGIApplication = make_wsgi_app(metrics.registry)

    def answer(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environment.get("PATH_INFO") != HEALTH_PATH:
            return tell(environment, start)
        age = metrics.round_age()
        start("200 OK" if age < STALLED_SECONDS else "503 Service Unavailable", [("content-type", "text/plain")])
        return [f"the last round ended {age:.0f} s ago\n".encode()]

    return answer
