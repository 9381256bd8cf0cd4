"""Between a controller and the API server: it can be away, silent, or write before each write, so that the write conflicts."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from kube import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from kube import Kube


class ApiProxy:
    """A plain HTTP server on the loopback interface that passes everything on.

    Attributes:
        away: ``"refused"``: connections are closed at once, those that are open too; ``"silent"``: they are never answered.
        conflicts: Whether somebody else writes each object right before every other write of it.
        writes: Method and path of what was passed on and changes something.
    """

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.away, self.conflicts = "", False
        self.writes: list[tuple[str, str, int]] = []
        self._touched: dict[str, bool] = {}
        self._counter = itertools.count()
        self._sockets: set[socket.socket] = set()
        self.back = threading.Event()
        self.back.set()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.1,), daemon=True).start()

    def write_kubeconfig(self, path: Path, namespace: str) -> Path:
        """A kubeconfig that leads here."""
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

    def leave(self, how: str) -> None:
        """Be away from now on."""
        self.away = how
        self.back.clear()
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        """Answer again."""
        self.away = ""
        self.back.set()

    def close(self) -> None:
        """End it."""
        self.come_back()
        self.server.shutdown()
        self.server.server_close()

    def touch(self, path: str) -> None:
        """Change an object under somebody's hands, every other time."""
        self._touched[path] = not self._touched.get(path, False)
        if self._touched[path]:
            with contextlib.suppress(RefusedError):
                note = {"metadata": {"annotations": {"somebody/was-here": str(next(self._counter))}}}
                self.kube.merge(path, note)


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that was cut is no error."""


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
        if owner.away == "silent":
            owner.back.wait(60)
        if owner.away or not owner.back.is_set():
            self.close_connection = True
            self.connection.close()
            return
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else None
        path = self.path.partition("?")[0]
        if owner.conflicts and self.command == "PATCH":
            owner.touch(path)
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
        self.close_connection = True
        self.end_headers()
        self.wfile.flush()
        for chunk in answer.stream(65536):
            self.wfile.write(chunk)
            self.wfile.flush()

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _pass  # noqa: N815 - as http.server names them

    def log_message(self, *_: object) -> None:
        """Nothing."""
