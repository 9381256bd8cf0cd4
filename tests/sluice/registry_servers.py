"""A real registry (Debian's docker-registry) on a free port, and two proxies in front of it.

One cuts connections. The other adds the referrers API, as a current registry has it, because Debian's docker-registry has none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self

import httpx
from guards import GUARD_SECONDS

from sluice.release.store.layout import MANIFEST_TYPE
from sluice.rollout.platforms.laptop.ports import reserve_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sluice.release.registry.registry_client import RegistryClient

_REFERRERS = re.compile(r"/v2/(?P<repository>.+)/referrers/(?P<digest>sha256:[0-9a-f]{64})")
PROGRAM = shutil.which("docker-registry") or ""
USER, PASSWORD = "sluice", "no secret"
HTPASSWD = "sluice:$2b$04$f.AbYYRXfabwJGf6a7PPRuig.0PbZtg9nhrb3KPf7tecU23lddxFG\n"
"""The file of users. The registry needs the password as bcrypt, which Python 3.13 cannot compute."""


def free_port() -> int:
    with reserve_port(0) as reserved:
        return int(reserved.getsockname()[1])


@contextlib.contextmanager
def registry_server(folder: Path, *, password: bool = False) -> Iterator[str]:
    """Run an empty registry and yield its host and port. It can require a user and a password."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config: dict[str, Any] = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if password:
        (folder / "users").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "users")}}
    (folder / "config.yml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + GUARD_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}/v2/")
                break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@dataclass
class CuttingProxy:
    """A TCP proxy in front of a registry that cuts connections.

    Attributes:
        target: The host and port of the registry.
        cuts: The number of connections that it still cuts.
        after: The number of sent bytes after which it cuts a connection.
        connections: The number of connections so far.
    """

    target: str
    cuts: int = 0
    after: int = 0
    connections: int = 0
    _server: socket.socket = field(default_factory=socket.socket)

    def __enter__(self) -> Self:
        self._server.bind(("127.0.0.1", 0))
        self._server.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            cut = self.cuts > 0
            self.cuts -= cut
            host, _, port = self.target.partition(":")
            upstream = socket.create_connection((host, int(port)))
            threading.Thread(target=self._pump, args=(client, upstream, self.after if cut else None), daemon=True).start()
            threading.Thread(target=self._pump, args=(upstream, client, None), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                passed += len(data)
                if limit is not None and passed > limit:
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def put_base(
    registry: RegistryClient,
    folder: Path,
    *,
    tag: str = "latest",
    architecture: str = "amd64",
    user: str = "10001",
    fingerprint: str = "",
) -> str:
    """Push a small image that has the form of a serving image, and return its digest."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        data = b"served\n" * 50_000
        info = tarfile.TarInfo("opt/sluice/base.txt")
        info.size = len(data)
        archive.addfile(info, BytesIO(data))
    layer = _put(registry, folder, buffer.getvalue(), "application/vnd.docker.image.rootfs.diff.tar")
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Cmd": ["serve"],
            "Env": ["A=1"],
            "User": user,
            "Labels": {"of-base": "yes", "sluice.fingerprint": fingerprint},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        "history": [{"created_by": "a build"}],
    }
    config_descriptor = _put(registry, folder, json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config_descriptor, "layers": [layer]}
    data = json.dumps(manifest).encode()
    registry.write_manifest(tag, data, MANIFEST_TYPE)
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _put(registry: RegistryClient, folder: Path, data: bytes, media_type: str) -> dict[str, Any]:
    descriptor = {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}
    file = folder / "blob"
    file.write_bytes(data)
    registry.write_blob(descriptor, file)
    return descriptor


class RegistryProxy:
    """A registry with the referrers API. It passes requests on, remembers manifests with a ``subject``, and can alter answers.

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
