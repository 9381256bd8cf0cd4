"""A proxy between a controller and the API server that can cause faults.

It can refuse connections, leave requests without an answer, refuse to store a status as if etcd's disk were full, or change an
object right before a write, so that the write conflicts.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from kube import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from kube import Kube


class ApiProxy:
    """A plain HTTP server on the loopback interface that passes every request on to the API server.

    Attributes:
        outage: ``"refused"``: it closes all connections at once, also those that are open. ``"silent"``: it answers no request.
            Empty: there is no outage.
        conflicts: Whether it changes each object itself right before every second write to it.
        full: Whether it refuses each write of a status, as the API server does if etcd has no space left.
        writes: Method, path and status of each request that it passed on, except for GET.
        available: Is set while there is no outage.
    """

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.outage, self.conflicts, self.full = "", False, False
        self.writes: list[tuple[str, str, int]] = []
        self._written: dict[str, bool] = {}
        self._counter = itertools.count()
        self._sockets: set[socket.socket] = set()
        self.available = threading.Event()
        self.available.set()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.1,), daemon=True).start()

    def write_kubeconfig(self, path: Path, namespace: str) -> Path:
        """Write a kubeconfig whose cluster is this proxy, and return its path."""
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        named: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": url}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy", "namespace": namespace}}],
        }
        path.write_text(json.dumps(named))
        return path

    def interrupt(self, how: str) -> None:
        """Begin an outage: ``"refused"`` or ``"silent"``."""
        self.outage = how
        self.available.clear()
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """End the outage."""
        self.outage = ""
        self.available.set()

    def close(self) -> None:
        """Stop the server."""
        self.restore()
        self.server.shutdown()
        self.server.server_close()

    def write_before(self, path: str) -> None:
        """Change an object, so that a write to it that follows conflicts. Do so only on every second call for the object."""
        self._written[path] = not self._written.get(path, False)
        if self._written[path]:
            with contextlib.suppress(RefusedError):
                change = {"metadata": {"annotations": {"another-client/write": str(next(self._counter))}}}
                self.kube.merge(path, change)


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors, because an outage cuts connections."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: ApiProxy

    def setup(self) -> None:
        super().setup()
        self.owner._sockets.add(self.connection)

    def finish(self) -> None:
        self.owner._sockets.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def _pass(self) -> None:
        owner = self.owner
        if owner.outage == "silent":
            owner.available.wait(60)
        if owner.outage or not owner.available.is_set():
            self.close_connection = True
            self.connection.close()
            return
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else None
        path = self.path.partition("?")[0]
        if owner.conflicts and self.command in {"PATCH", "PUT"}:
            owner.write_before(path.removesuffix("/status"))
        if owner.full and self.command == "PUT" and path.endswith("/status"):
            owner.writes.append((self.command, path, HTTPStatus.INTERNAL_SERVER_ERROR))
            self._answer_full()
            return
        watching = "watch=true" in self.path
        answer = owner.kube.open(self.command, self.path, body, kind=self.headers.get("content-type") or "", stream=watching)
        if self.command != "GET":
            owner.writes.append((self.command, path, answer.status))
        self.send_response(answer.status)
        self.send_header("content-type", answer.headers.get("content-type", "application/json"))
        if not watching:
            self.send_header("content-length", str(len(answer.data)))
            self.end_headers()
            self.wfile.write(answer.data)
            return
        self.send_header("connection", "close")
        self.send_header("transfer-encoding", "chunked")  # as the API server does; without it a client waits for a full buffer
        self.close_connection = True
        self.end_headers()
        for chunk in answer.stream(65536):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def _answer_full(self) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500}
        body = json.dumps(status | {"message": "etcdserver: mvcc: database space exceeded"}).encode()
        self.send_response(HTTPStatus.INTERNAL_SERVER_ERROR)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _pass  # noqa: N815 - the names that http.server expects

    def log_message(self, *_: object) -> None:
        """Log nothing."""
