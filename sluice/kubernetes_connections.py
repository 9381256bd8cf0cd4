"""A connection to an API server that is there at once: a person who rolls back does not wait for the package ``kubernetes``.

The import of that package takes half a second of a processor, which is longer on a busy machine. This module covers what needs no
helper: the token of a Pod, and a kubeconfig with a token or a client certificate. For anything else (a login helper, a proxy, two
kubeconfigs) it returns nothing, and the caller uses the package.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import urllib3
from urllib3.util import Timeout
from urllib3.util.ssl_ import create_urllib3_context

from sluice.kubernetes_calls import RefusedCallError, find_account, read_message, read_retry_after

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_CLUSTER_KEYS = {"server", "certificate-authority", "certificate-authority-data", "extensions"}
_USER_KEYS = {
    "token",
    "tokenFile",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "extensions",
}
_MAX_CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class QuickConnection:
    """A connection to one API server.

    Attributes:
        url: URL of the server.
        namespace: The namespace of the account or of the kubeconfig's context.
    """

    url: str
    namespace: str
    _pool: urllib3.PoolManager = field(repr=False)
    _token: str = field(default="", repr=False)
    _token_file: Path | None = None

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout: tuple[float, float],
    ) -> Any:  # noqa: ANN401 - as `sluice.kubernetes_calls.send_request`
        """Send one request, and return the response before it is read. The parameters are those of `send_request`.

        Raises:
            RefusedCallError: The API server refused.
            urllib3.exceptions.HTTPError: It does not answer.
            OSError: The token cannot be read.
        """
        # Kubernetes replaces the token in the file, so it is read for each request.
        token = self._token_file.read_text(encoding="utf-8").strip() if self._token_file else self._token
        answer = self._pool.request(
            method,
            self.url + path + (f"?{urlencode(query)}" if query else ""),
            headers={
                "Accept": "application/json",
                "User-Agent": "sluice",
                **({"Authorization": f"Bearer {token}"} if token else {}),
                **headers,
            },
            body=json.dumps(body).encode() if body is not None else None,
            preload_content=False,
            timeout=Timeout(connect=timeout[0], read=timeout[1]),
            retries=False,
        )
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - the statuses of success
            message = read_message(answer.data, f"{answer.status} {answer.reason}")
            raise RefusedCallError(answer.status, message, read_retry_after(answer.headers))
        return answer


def connect_quickly() -> QuickConnection | None:
    """Connect to the cluster that this process runs in; outside a cluster, to the one of the kubeconfig's current context.

    Returns:
        The connection; None if it needs what this module does not cover, or if there is no usable configuration. The package
        ``kubernetes`` then connects, or says what is missing.
    """
    if any(os.environ.get(name) for name in _PROXY_VARIABLES):
        return None
    try:
        if account := find_account():
            return _connect_as_account(account)
        return _connect_by_kubeconfig()
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _connect_as_account(folder: Path) -> QuickConnection:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    context = create_urllib3_context()
    context.load_verify_locations(cafile=str(folder / "ca.crt"))
    return QuickConnection(
        f"https://{f'[{host}]' if ':' in host else host}:{port}",
        (folder / "namespace").read_text(encoding="utf-8").strip(),
        _open_pool(context),
        _token_file=folder / "token",
    )


def _connect_by_kubeconfig() -> QuickConnection | None:
    files = [one for one in os.environ.get("KUBECONFIG", "").split(os.pathsep) if one] or [str(Path.home() / ".kube" / "config")]
    if len(files) != 1:
        return None
    import yaml  # noqa: PLC0415 - a Pod has no kubeconfig

    file = Path(files[0]).expanduser()
    try:
        document = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except yaml.YAMLError:
        return None
    context = _find(document, "context", document["current-context"])
    cluster, user = _find(document, "cluster", context["cluster"]), _find(document, "user", context["user"])
    if not (set(cluster) <= _CLUSTER_KEYS and set(user) <= _USER_KEYS):
        return None
    ssl_context = create_urllib3_context()
    if not _load_authority(ssl_context, cluster, file.parent):
        ssl_context.load_default_certs()
    _load_client(ssl_context, user, file.parent)
    return QuickConnection(
        cluster["server"].rstrip("/"),
        context.get("namespace") or "default",
        _open_pool(ssl_context),
        str(user.get("token") or ""),
        file.parent / user["tokenFile"] if user.get("tokenFile") else None,
    )


def _find(document: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    """Return the entry of a kubeconfig with this name."""
    found: dict[str, Any] = [one for one in document[f"{kind}s"] if one["name"] == name][0][kind] or {}  # noqa: RUF015 - a missing one is a LookupError
    return found


def _load_authority(context: ssl.SSLContext, cluster: Mapping[str, Any], folder: Path) -> bool:
    """Trust the authority that a kubeconfig names; return whether it names one."""
    if data := cluster.get("certificate-authority-data"):
        context.load_verify_locations(cadata=base64.b64decode(data).decode())
    elif name := cluster.get("certificate-authority"):
        context.load_verify_locations(cafile=str(folder / name))
    else:
        return False
    return True


def _load_client(context: ssl.SSLContext, user: Mapping[str, Any], folder: Path) -> None:
    """Load the client's certificate and key, if the kubeconfig has them."""
    parts = [user.get(f"{kind}-data") or user.get(kind) for kind in ("client-certificate", "client-key")]
    if not all(parts):
        return
    with tempfile.TemporaryDirectory() as private:  # OpenSSL reads them from files only
        paths = []
        for kind in ("client-certificate", "client-key"):
            path = folder / str(user.get(kind) or "")
            if data := user.get(f"{kind}-data"):
                path = Path(private, kind)
                path.write_bytes(base64.b64decode(data))
            paths.append(str(path))
        context.load_cert_chain(*paths)


def _open_pool(context: ssl.SSLContext) -> urllib3.PoolManager:
    return urllib3.PoolManager(maxsize=_MAX_CONNECTIONS, ssl_context=context)
