"""The quick connection does what the package ``kubernetes`` does, and leaves to it what it does not cover."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from urllib3.exceptions import HTTPError

import sluice.kubernetes_calls
from sluice.kubernetes_calls import MERGE_PATCH, RefusedCallError
from sluice.kubernetes_connections import connect_quickly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT = (60.0, 60.0)


class SecureServer:
    """A server over TLS that asks for the client's certificate and says what it got."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = self.make_certificate("authority", "/CN=authority")
        self.certificate = self.make_certificate("server", "/CN=localhost", "subjectAltName=IP:127.0.0.1")
        self.client = self.make_certificate("client", "/CN=kim")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, folder / "server.key")
        context.load_verify_locations(self.authority)
        context.verify_mode = ssl.CERT_OPTIONAL

        class Handler(BaseHTTPRequestHandler):
            def handle_call(self) -> None:
                length = int(self.headers.get("content-length", 0))
                found = {
                    "method": self.command,
                    "path": self.path,
                    "body": self.rfile.read(length).decode(),
                    "authorization": self.headers.get("authorization", ""),
                    "type": self.headers.get("content-type", ""),
                    "client": str((self.connection.getpeercert() or {}).get("subject", "")),  # type: ignore[attr-defined]
                    "message": "not allowed",
                }
                content = json.dumps(found).encode()
                self.send_response(403 if "forbidden" in self.path else 200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PATCH = handle_call  # noqa: N815 - names of the standard library

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server.server_port}"

    def make_certificate(self, name: str, subject: str, extension: str = "") -> Path:
        """Make a key and a certificate: of the authority itself, or signed by it."""
        made, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject]
        command += ["-keyout", str(key), "-out", str(made)] + (["-addext", extension] if extension else [])
        if name != "authority":
            command += ["-CA", str(self.folder / "authority.crt"), "-CAkey", str(self.folder / "authority.key")]
            command += ["-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run(command, check=True, capture_output=True)
        return made


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    server = SecureServer(tmp_path_factory.mktemp("tls"))
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def write_kubeconfig(
    file: Path, monkeypatch: pytest.MonkeyPatch, cluster: dict[str, Any], user: dict[str, Any], namespace: str = "prod"
) -> None:
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "one", "user": "kim", "namespace": namespace}}],
        "clusters": [{"name": "one", "cluster": cluster}],
        "users": [{"name": "kim", "user": user}],
    }
    file.write_text(json.dumps(document))
    monkeypatch.setenv("KUBECONFIG", str(file))


def encode(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def call(path: str = "/api", body: dict[str, Any] | None = None) -> dict[str, Any]:
    connection = connect_quickly()
    assert connection is not None
    headers = {"Content-Type": MERGE_PATCH} if body is not None else {}
    answer = connection.send("PATCH" if body is not None else "GET", path, {"a": "b c"}, body, headers, TIMEOUT)
    found: dict[str, Any] = json.loads(answer.data)
    return found


@pytest.mark.parametrize("inline", [True, False])
def test_a_client_certificate_is_sent_whether_the_kubeconfig_contains_or_names_it(
    tmp_path: Path, secure: SecureServer, monkeypatch: pytest.MonkeyPatch, inline: bool
) -> None:
    files = {"client-certificate": secure.client, "client-key": secure.folder / "client.key"}
    user: dict[str, Any] = (
        {f"{name}-data": encode(path) for name, path in files.items()}
        if inline
        else {**{name: str(path) for name, path in files.items()}}
    )
    authority = (
        {"certificate-authority-data": encode(secure.authority)} if inline else {"certificate-authority": str(secure.authority)}
    )
    write_kubeconfig(tmp_path / "config", monkeypatch, {"server": secure.url, **authority}, user)
    found = call(body={"x": 1})
    assert "kim" in found["client"]
    assert (found["method"], found["path"], found["type"]) == ("PATCH", "/api?a=b+c", MERGE_PATCH)
    assert json.loads(found["body"]) == {"x": 1}


def test_a_token_is_sent_and_never_shown(tmp_path: Path, secure: SecureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"server": secure.url, "certificate-authority": str(secure.authority)}
    write_kubeconfig(tmp_path / "config", monkeypatch, cluster, {"token": "secret-token"})
    assert call()["authorization"] == "Bearer secret-token"
    assert "secret-token" not in repr(connect_quickly())


def test_a_server_with_a_certificate_of_another_authority_gets_no_token(
    tmp_path: Path, secure: SecureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cluster in ({"server": secure.url}, {"server": secure.url, "certificate-authority": str(secure.client)}):
        write_kubeconfig(tmp_path / "config", monkeypatch, cluster, {"token": "t"})
        with pytest.raises(HTTPError, match="CERTIFICATE_VERIFY_FAILED"):
            call()


def test_a_refusal_has_the_message_of_the_server(tmp_path: Path, secure: SecureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"server": secure.url, "certificate-authority": str(secure.authority)}
    write_kubeconfig(tmp_path / "config", monkeypatch, cluster, {"token": "t"})
    with pytest.raises(RefusedCallError, match="not allowed") as refused:
        call("/forbidden")
    assert refused.value.status == 403


def test_a_pod_uses_its_account_and_reads_a_token_that_was_replaced(
    tmp_path: Path, secure: SecureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("prod")
    (tmp_path / "ca.crt").write_bytes(secure.authority.read_bytes())
    monkeypatch.setattr(sluice.kubernetes_calls, "POD_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(secure.server.server_port))
    connection = connect_quickly()
    assert connection is not None
    assert connection.namespace == "prod"
    for token in ("first", "second"):
        (tmp_path / "token").write_text(token)
        answer = connection.send("GET", "/api", {}, None, {}, TIMEOUT)
        assert json.loads(answer.data)["authorization"] == f"Bearer {token}"


@pytest.mark.parametrize(
    ("cluster", "user"),
    [
        ({}, {"exec": {"command": "login"}}),
        ({}, {"auth-provider": {"name": "oidc"}}),
        ({}, {"username": "kim", "password": "p"}),
        ({"insecure-skip-tls-verify": True}, {"token": "t"}),
        ({"proxy-url": "http://proxy"}, {"token": "t"}),
        ({"tls-server-name": "other"}, {"token": "t"}),
    ],
)
def test_what_it_does_not_cover_is_left_to_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: dict[str, Any], user: dict[str, Any]
) -> None:
    write_kubeconfig(tmp_path / "config", monkeypatch, {"server": "https://127.0.0.1:1", **cluster}, user)
    assert connect_quickly() is None


def test_a_missing_a_broken_and_a_second_kubeconfig_are_left_to_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in (None, ":\n  -", "{}", "[]", "current-context: nobody\ncontexts: []"):
        file = tmp_path / "config"
        if text is not None:
            file.write_text(text)
        monkeypatch.setenv("KUBECONFIG", str(file))
        assert connect_quickly() is None, text
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'one'}:{tmp_path / 'two'}")
    assert connect_quickly() is None


def test_a_proxy_is_left_to_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_kubeconfig(tmp_path / "config", monkeypatch, {"server": "https://127.0.0.1:1"}, {"token": "t"})
    assert connect_quickly() is not None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    assert connect_quickly() is None
