"""A client of the API server for any path and plain objects, with the account of $KUBECONFIG."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

from kubernetes import client, config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
SELDON = "/apis/machinelearning.seldon.io/v1"
SLUICE = "/apis/sluice.dev/v1alpha1"
ISTIO = "/apis/networking.istio.io/v1beta1"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class RefusedError(Exception):
    """The API server refused a request.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class Kube:
    """A client that several threads can share."""

    def __init__(self) -> None:
        settings = client.Configuration()
        config.load_kube_config(client_configuration=settings)
        settings.retries = False
        settings.connection_pool_maxsize = 32
        api = client.ApiClient(settings)
        self.url = settings.host
        self.pool = api.rest_client.pool_manager
        bearer = settings.auth_settings().get("BearerToken")
        self.headers = {bearer["key"]: bearer["value"]} if bearer else {}

    def ask(self, method: str, path: str, body: Any = None, *, kind: str = "application/json", **query: str) -> dict[str, Any]:
        """Send a request, and return the answer's JSON document.

        Raises:
            RefusedError: The status is 400 or higher.
        """
        answer = self.open(method, path, json.dumps(body).encode() if body is not None else None, kind=kind, **query)
        if answer.status >= 400:
            raise RefusedError(answer.status, answer.data.decode(errors="replace"))
        return dict(json.loads(answer.data))

    def open(self, method: str, path: str, body: bytes | None, *, kind: str, stream: bool = False, **query: str) -> Any:
        """Send a request, and return the answer with any status."""
        headers = self.headers | {"accept": "application/json"} | ({"content-type": kind} if body is not None else {})
        text = "&".join(f"{name}={value}" for name, value in query.items())
        url = f"{self.url}{path}" + (("&" if "?" in path else "?") + text if text else "")
        timeout = 330 if stream else 20
        return self.pool.request(method, url, body=body, headers=headers, preload_content=not stream, timeout=timeout)

    def find(self, path: str) -> dict[str, Any] | None:
        """Return an object; None if it does not exist."""
        try:
            return self.ask("GET", path)
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def apply(self, path: str, body: dict[str, Any], manager: str = "stand-in") -> dict[str, Any]:
        """Create or change an object with a server-side apply."""
        return self.ask("PATCH", path, body, kind=APPLY, fieldManager=manager, force="true")

    def merge(self, path: str, patch: dict[str, Any], manager: str = "another-client") -> dict[str, Any]:
        """Change some fields with a merge patch."""
        return self.ask("PATCH", path, patch, kind=MERGE, fieldManager=manager)

    def delete(self, path: str) -> None:
        """Delete an object. Ignore a refusal, for example because it does not exist."""
        with contextlib.suppress(RefusedError):
            self.ask("DELETE", path)

    def list(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Return the objects of a kind."""
        return list(self.ask("GET", path, **query)["items"])


class Informer:
    """The present objects of a kind, by namespace and name. A watch keeps them up to date.

    Attributes:
        objects: ``namespace/name`` → object.
        listed: Is set when the objects have been read for the first time.
    """

    def __init__(self, kube: Kube, path: str, changed: Callable[[dict[str, Any]], object]) -> None:
        self.kube, self.path, self.changed = kube, path, changed
        self.objects: dict[str, dict[str, Any]] = {}
        self.listed = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while True:
            try:
                self._follow_once()
            except Exception:  # noqa: BLE001 - after any error, it reads all objects again
                time.sleep(0.5)

    def _follow_once(self) -> None:
        found = self.kube.ask("GET", self.path)
        before, self.objects = self.objects, {_key(item): item for item in found["items"]}
        for item in (before | self.objects).values():
            self.changed(item)
        self.listed.set()
        version = found["metadata"]["resourceVersion"]
        query = {"watch": "true", "timeoutSeconds": "300", "resourceVersion": version}
        answer = self.kube.open("GET", self.path, None, kind="", stream=True, **query)
        for line in _lines(answer):
            event = json.loads(line)
            if event["type"] == "ERROR":
                return
            item = event["object"]
            if event["type"] == "DELETED":
                self.objects.pop(_key(item), None)
            else:
                self.objects[_key(item)] = item
            self.changed(item)


def _key(item: dict[str, Any]) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def _lines(answer: Any) -> Iterator[bytes]:
    left = b""
    for chunk in answer.stream(65536):
        *whole, left = (left + chunk).split(b"\n")
        yield from filter(None, whole)
