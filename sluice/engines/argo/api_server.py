"""Calls to the Kubernetes API server, with objects as plain dicts.

Every kind is addressed by its path, every call has a time limit, and every failure becomes an error of Sluice.
"""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from sluice import kubernetes_calls
from sluice.engines.argo.refusals import Refusal, explain
from sluice.engines.reconnection import UnreachableError
from sluice.errors import ServiceError, SluiceError
from sluice.kubernetes_calls import APPLY_PATCH, MERGE_PATCH, POD, Kind, send_request
from sluice.kubernetes_retries import retry_call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
"""Time limits of one call. A person waits for it."""

MANAGER = "sluice"
"""The field manager of everything that this engine writes."""

_JSON = "application/json"


WORKFLOW = Kind("argoproj.io", "v1alpha1", "workflows", "Workflow")
TEMPLATE = Kind("argoproj.io", "v1alpha1", "workflowtemplates", "WorkflowTemplate")
CRON = Kind("argoproj.io", "v1alpha1", "cronworkflows", "CronWorkflow")


class RefusedCallError(Exception):
    """The API server refused a call. `error` is what people see; the status decides what the caller does."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal

    @property
    def error(self) -> SluiceError:
        """The error that a person sees."""
        return explain(self.refusal)


class ApiServer:
    """One namespace of a cluster.

    Attributes:
        namespace: The namespace of all objects.
        url: URL of the API server.
    """

    def __init__(self, client: Any, namespace: str) -> None:  # noqa: ANN401 - the client has no types
        """Use an ``ApiClient`` of the package ``kubernetes``. `sluice.engines.argo.credentials.connect` makes one."""
        self._client, self.namespace = client, namespace
        self.url = str(client.configuration.host)

    def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """Return one object; None if it does not exist."""
        try:
            return self.call("GET", kind.path(self.namespace, name))
        except RefusedCallError as error:
            if error.refusal.status == HTTPStatus.NOT_FOUND and "requested resource" not in error.refusal.message:
                return None
            raise error.error from error

    def list(self, kind: Kind, selector: str) -> list[dict[str, Any]]:
        """Return the objects that a label selector matches."""
        return list(self._told("GET", kind.path(self.namespace), query={"labelSelector": selector}).get("items") or [])

    def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Create an object, and return it as stored; None if an object of this name exists already."""
        try:
            return self.call("POST", kind.path(self.namespace), query={"fieldManager": MANAGER}, body=body)
        except RefusedCallError as error:
            if error.refusal.status == HTTPStatus.CONFLICT:
                return None
            raise error.error from error

    def apply(self, kind: Kind, body: Mapping[str, Any], *, force: bool, dry_run: bool = False) -> dict[str, Any]:
        """Create or change an object with server-side apply, and return it as stored.

        Args:
            kind: Its kind.
            body: The whole object as this manager wants it.
            force: Whether to take over fields that another manager owns.
            dry_run: Whether the API server checks everything and stores nothing.
        """
        query = {"fieldManager": MANAGER, "force": str(force).lower()} | ({"dryRun": "All"} if dry_run else {})
        path = kind.path(self.namespace, str(body["metadata"]["name"]))
        return self._told("PATCH", path, query=query, body=body, content=APPLY_PATCH)

    def merge(self, kind: Kind, name: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Change some fields of an object with a merge patch, and return the object as stored."""
        path = kind.path(self.namespace, name)
        return self._told("PATCH", path, query={"fieldManager": MANAGER}, body=patch, content=MERGE_PATCH)

    def replace(self, kind: Kind, body: Mapping[str, Any]) -> bool:
        """Replace an object at the resourceVersion in `body`. Return False if it is at another one."""
        path = kind.path(self.namespace, str(body["metadata"]["name"]))
        try:
            self.call("PUT", path, query={"fieldManager": MANAGER}, body=body)
        except RefusedCallError as error:
            if error.refusal.status == HTTPStatus.CONFLICT:
                return False
            raise error.error from error
        return True

    def delete(self, kind: Kind, name: str, *, orphan: bool = False) -> bool:
        """Delete an object. Return False if it does not exist. With `orphan`, the objects that it owns stay."""
        query = {"propagationPolicy": "Orphan"} if orphan else {}
        try:
            self.call("DELETE", kind.path(self.namespace, name), query=query)
        except RefusedCallError as error:
            if error.refusal.status == HTTPStatus.NOT_FOUND:
                return False
            raise error.error from error
        return True

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask a question that the API server answers to a POST, such as a SelfSubjectAccessReview."""
        return self._told("POST", path, body=body)

    def read(self, path: str) -> dict[str, Any]:
        """Return the answer to a GET of any path."""
        return self._told("GET", path)

    def measure_skew(self) -> float:
        """Return how many seconds the API server's clock is ahead of this machine's. The answer's date has whole seconds."""
        before = time.time()
        try:
            answer = self._request("GET", "/version", {}, None, {}, (CONNECT_SECONDS, READ_SECONDS))
        except RefusedCallError as error:
            raise error.error from error
        told = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        now = time.time()
        return 0.0 if before - 1 <= told <= now else told - now

    def watch(self, kind: Kind, name: str, version: str, seconds: int) -> Iterator[dict[str, Any]]:
        """Yield one object after each of its changes, for some seconds. The iterator ends early if the version is too old."""
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        answer = self._open("GET", kind.path(self.namespace), query, (CONNECT_SECONDS, seconds + READ_SECONDS))
        for line in answer:
            event = json.loads(line)
            if event["type"] not in {"ADDED", "MODIFIED", "DELETED"}:
                return
            yield event["object"]

    def lines(self, pod: str, container: str) -> Iterator[str] | None:
        """Return the lines that a container printed; None if the pod or its log does not exist (yet)."""
        path = f"{POD.path(self.namespace, pod)}/log"
        try:
            answer = self._request("GET", path, {"container": container}, None, {}, (CONNECT_SECONDS, READ_SECONDS))
        except RefusedCallError as error:
            if error.refusal.status in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}:
                return None
            raise error.error from error
        text: str = answer.data.decode("utf-8", "replace")
        return iter(text.splitlines())

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = _JSON,
    ) -> dict[str, Any]:
        """Make one call, and return the answer.

        Raises:
            RefusedCallError: The API server refused the call.
            ServiceError: The API server does not answer, or its answer is not JSON.
        """
        headers = {"Content-Type": content} if body is not None else {}
        answer = self._request(method, path, query or {}, body, headers, (CONNECT_SECONDS, READ_SECONDS))
        try:
            document: dict[str, Any] = json.loads(answer.data)
        except ValueError as error:
            raise ServiceError(f"the answer of {self.url} to {method} {path} is not JSON: {error}") from error
        return document

    def _told(self, *arguments: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - those of `call`
        try:
            return self.call(*arguments, **options)
        except RefusedCallError as error:
            raise error.error from error

    def _open(self, method: str, path: str, query: Mapping[str, str], timeout: tuple[float, float]) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - only the engines in a cluster need it

        try:
            answer = self._request(method, path, query, None, {}, timeout)
        except RefusedCallError as error:
            raise error.error from error
        try:
            yield from answer
        except (HTTPError, OSError) as error:
            raise UnreachableError(
                f"{self.url} closed the connection: {error}", hint="The run continues. Run the command again."
            ) from error
        finally:
            answer.release_conn()

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout: tuple[float, float],
    ) -> Any:  # noqa: ANN401 - urllib3's response
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - only a cluster needs it

        try:
            return retry_call(lambda: send_request(self._client, method, path, query, body, headers, timeout), method)
        except kubernetes_calls.RefusedCallError as error:
            raise RefusedCallError(Refusal(error.status, error.message, f"{method} {path}", self.url)) from error
        except (HTTPError, OSError) as error:
            raise UnreachableError(
                f"the API server {self.url} does not answer: {_shorten(error)}",
                hint="Check that the cluster is running, and that KUBECONFIG or argo.server names it.",
            ) from error


def _shorten(error: Exception) -> str:
    """Return the reason of a failed connection without urllib3's description of its pool."""
    reason = getattr(error, "reason", None) or error
    return str(reason).rpartition("object at 0x")[2].partition(">: ")[2] or str(reason)
