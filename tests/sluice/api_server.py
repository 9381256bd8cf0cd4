"""A small API server for ConfigMaps: it stores, versions and refuses as the real one does. The cluster tests use the real one."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ApiServer:
    """ConfigMaps in memory, served over HTTP. `forbidden` refuses every call."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.forbidden = False
        self.caller = ""  # the token of the present call
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def handle_call(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(length)) if length else {}
                with outer.lock:
                    outer.caller = self.headers.get("authorization", "").removeprefix("Bearer ")
                    self.reply(*outer.answer(self.command, self.path.partition("?")[0], body))

            do_GET = do_POST = do_PUT = handle_call  # noqa: N815 - names of the standard library

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.forbidden:
            return self.refuse(403, "Forbidden")
        name = body.get("metadata", {}).get("name") if method == "POST" else path.rpartition("/")[2]
        stored = self.objects.get(name)
        if method == "POST":
            return self.refuse(409, "AlreadyExists") if stored else self.store(201, name, body)
        if stored is None:
            return self.refuse(404, "NotFound")
        if method == "PUT":
            if body["metadata"].get("resourceVersion") != stored["metadata"]["resourceVersion"]:
                return self.refuse(409, "Conflict")
            return self.store(200, name, body)
        return 200, stored

    def store(self, status: int, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.version += 1
        self.objects[name] = body | {"metadata": body["metadata"] | {"resourceVersion": str(self.version)}}
        return status, self.objects[name]

    def refuse(self, status: int, reason: str) -> tuple[int, dict[str, Any]]:
        return status, {"kind": "Status", "status": "Failure", "reason": reason, "code": status, "message": reason}
