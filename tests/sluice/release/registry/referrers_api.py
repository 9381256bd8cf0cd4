"""A proxy in front of a registry that adds the referrers API, as a current registry has it, and that can alter answers.

Debian's docker-registry has no referrers API. The proxy passes every request on, and remembers the manifests with a ``subject``.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import httpx
from guards import GUARD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

_REFERRERS = re.compile(r"/v2/(?P<repository>.+)/referrers/(?P<digest>sha256:[0-9a-f]{64})")


class RegistryProxy:
    """A registry with the referrers API.

    Args:
        target: The host and port of the registry.
        referrers: Whether to offer the referrers API.
        alter: Called with the method, the path and the body of each answer. It returns the body to send.
        before: Called with the method and the path before each request is passed on.
    """

    def __init__(
        self,
        target: str,
        *,
        referrers: bool = True,
        alter: Callable[[str, str, bytes], bytes] = lambda _method, _path, body: body,
        before: Callable[[str, str], None] = lambda _method, _path: None,
    ) -> None:
        self.target, self.referrers, self.alter, self.before = target, referrers, alter, before
        self.requests: list[tuple[str, str]] = []
        self._client = httpx.Client(verify=False, timeout=GUARD_SECONDS)  # noqa: S501 - the registry uses HTTP
        self._attached: dict[str, list[dict[str, Any]]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.requests.append((method, path))
        self.before(method, path)
        if (asked := _REFERRERS.fullmatch(path)) and self.referrers:
            index = {"schemaVersion": 2, "manifests": self._attached.get(asked["digest"], [])}
            return 200, {"Content-Type": "application/vnd.oci.image.index.v1+json"}, json.dumps(index).encode()
        given = self._client.request(method, f"http://{self.target}{path}", headers=headers, content=body)
        kept = {key: value for key, value in given.headers.items() if key.lower() not in {"transfer-encoding", "content-length"}}
        if location := kept.pop("location", ""):
            kept["Location"] = location.replace(self.target, self.host)
        if method == "PUT" and "/manifests/" in path and given.status_code == 201 and self.referrers:
            kept |= self._note(body)
        return given.status_code, kept, self.alter(method, path, given.content)

    def _note(self, body: bytes) -> dict[str, str]:
        manifest = json.loads(body)
        if "subject" not in manifest:
            return {}
        entry = {
            "mediaType": manifest["mediaType"],
            "digest": f"sha256:{hashlib.sha256(body).hexdigest()}",
            "size": len(body),
            "artifactType": manifest["artifactType"],
        }
        self._attached.setdefault(manifest["subject"]["digest"], []).append(entry)
        return {"OCI-Subject": manifest["subject"]["digest"]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._read_chunks()
                dropped = {"host", "content-length", "transfer-encoding", "connection"}
                headers = {key: value for key, value in self.headers.items() if key.lower() not in dropped}
                status, given, content = proxy.answer(self.command, self.path, headers, body)
                self.send_response(status)
                for key, value in given.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server names them

            def _read_chunks(self) -> bytes:
                found = b""
                while self.headers.get("Transfer-Encoding") == "chunked" and (size := int(self.rfile.readline(), 16)):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                return found

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        return Handler
