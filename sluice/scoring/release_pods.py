"""Serve a release in a cluster: a Pod that runs the release's image. The Pod of the pipeline step that starts it owns it."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from sluice.errors import ServiceError
from sluice.kubernetes_calls import RefusedCallError, find_account, load_account
from sluice.kubernetes_retries import call_method
from sluice.scoring.containers.server_containers import (
    PORT,
    TIMEOUT_ANNOTATION,
    WORKERS_VARIABLE,
    plan_probes,
    plan_request_timeout,
    plan_server_container,
    plan_server_pod_spec,
    plan_server_variables,
)
from sluice.scoring.release_client import ReleaseClient

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project
    from sluice.project.settings import Settings

_POLL_SECONDS = 0.5
_CONTAINER = "release"
_LONGEST_SECONDS = 4 * 3600
"""Kubernetes ends the Pod after this time, so that it does not serve for ever if the step that started it was killed."""


def runs_in_pod() -> bool:
    """Return whether this process runs in a Pod that has a service account token for its cluster."""
    return find_account() is not None


def plan_pod(settings: Settings, image: str, digest: str, *, owner: dict[str, str] | None) -> dict[str, Any]:
    """Return the Pod that serves a release, with the settings with which production serves it.

    Args:
        settings: The settings of the project.
        image: The release's image, by digest.
        digest: The digest of the release.
        owner: ``name`` and ``uid`` of the Pod that owns it. Kubernetes deletes it with its owner. None if it runs in another
            namespace, because no Pod there can have this owner.
    """
    server = plan_server_container(
        _CONTAINER,
        image,
        digest,
        {WORKERS_VARIABLE: str(settings.seldon.workers), **plan_server_variables(settings)},
        ports=[{"name": "http", "containerPort": PORT}],
        resources={"requests": dict(settings.seldon.requests), "limits": dict(settings.seldon.limits)},
        **plan_probes(settings),
    )
    server["volumeMounts"].append({"name": "podinfo", "mountPath": "/etc/podinfo"})
    spec = plan_server_pod_spec(server)
    # Seldon's operator mounts the Pod's annotations there, and Seldon's server reads them.
    annotations = [{"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}]
    spec["volumes"].append({"name": "podinfo", "downwardAPI": {"items": annotations}})
    reference = [{"apiVersion": "v1", "kind": "Pod", "name": owner["name"], "uid": owner["uid"]}] if owner else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "sluice-release-",
            "labels": {"app.kubernetes.io/managed-by": "sluice", "app.kubernetes.io/component": "release-under-test"},
            "annotations": {TIMEOUT_ANNOTATION: plan_request_timeout(settings)},
            "ownerReferences": reference,
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "activeDeadlineSeconds": _LONGEST_SECONDS,
            **spec,
        },
    }


class ReleasePod(ReleaseClient):
    """The client of a Pod that serves a release.

    Attributes:
        name: The Pod's name.
        namespace: The Pod's namespace.
        log: The file that the Pod's log is written to when the Pod is stopped.
    """

    def __init__(self, api: Any, pod: Any, *, digest: str, folder: Path, log: Path) -> None:  # noqa: ANN401 - the client has no types
        """Set the Pod. `start_pod` calls this. `url` is empty until the Pod is ready."""
        self._api, self.name, self.namespace, self.log = api, pod.metadata.name, pod.metadata.namespace, log
        super().__init__("", digest=digest, folder=folder, advice=f"Its log is {log}.")

    def wait_ready(self, timeout: float) -> None:
        """Wait until the Pod is ready, then set `url`.

        Raises:
            ServiceError: The Pod ended, or it was not ready in time. In both cases it is deleted.
        """
        deadline = time.monotonic() + timeout
        why = "no node was found for it"
        while time.monotonic() < deadline:
            pod = call_method(self._api.read_namespaced_pod, self.name, self.namespace)
            if any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or ()):
                self.url = f"http://{pod.status.pod_ip}:{PORT}"
                return
            if pod.status.phase in {"Failed", "Succeeded"}:
                why = f"it ended: {self._read_last_line()}"
                break
            why = _why_waiting(pod) or why
            time.sleep(_POLL_SECONDS)
        self.stop()
        raise ServiceError(
            f"the Pod {self.name} of release {self.digest[:19]} was not ready within {timeout:g} s: {why}", hint=self.advice
        )

    def stop(self, *, grace: float = 0) -> None:
        """Save the Pod's log and delete the Pod."""
        from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - only inside a cluster

        self.close()
        with contextlib.suppress(ApiException):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.write_text(
                self._api.read_namespaced_pod_log(self.name, self.namespace, container=_CONTAINER), encoding="utf-8"
            )
        with contextlib.suppress(ApiException):
            self._api.delete_namespaced_pod(self.name, self.namespace, grace_period_seconds=int(grace))

    def _read_last_line(self) -> str:
        from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - only inside a cluster

        try:
            lines = self._api.read_namespaced_pod_log(self.name, self.namespace, container=_CONTAINER, tail_lines=5).strip()
        except ApiException as error:
            return f"its log cannot be read: {error.reason}"
        return str(lines.splitlines()[-1]) if lines else "it wrote nothing"


def _why_waiting(pod: Any) -> str:  # noqa: ANN401 - the client has no types
    for status in pod.status.container_statuses or ():
        if status.state.waiting:
            return f"{status.state.waiting.reason}: {status.state.waiting.message or ''}".strip(": ")
        return "its health check has not passed yet"
    return ""


def start_pod(project: Project, folder: Path, digest: str, image: str, *, log: Path) -> ReleasePod:
    """Start a Pod with a release's image and wait until it is ready, at most ``serving.start_timeout_seconds``.

    It runs in ``serving.test_namespace``, or else in the namespace of this step, whose Pod then owns it.

    Args:
        project: The project.
        folder: The unpacked model layer, for the golden rows.
        digest: The digest of the release.
        image: The release's image, by digest.
        log: The file that the Pod's log is written to.

    Raises:
        ServiceError: The cluster refuses, or the Pod is not ready in time.
    """
    from kubernetes import client  # noqa: PLC0415 - the import takes a second, and only a cluster needs it

    settings, account = client.Configuration(), find_account()
    if account is None:
        raise ServiceError("this step has no token, so it cannot start a Pod", hint="Give it a service account of its own.")
    own = load_account(settings, account)
    namespace = project.settings.serving.test_namespace or own
    api = client.CoreV1Api(client.ApiClient(settings))
    try:
        owner = _read_own_pod(api, own) if namespace == own else None
        pod = call_method(api.create_namespaced_pod, namespace, plan_pod(project.settings, image, digest, owner=owner))
    except (RefusedCallError, KeyError) as error:
        raise ServiceError(
            f"the cluster does not allow this step to create a Pod in namespace {namespace}: {error}",
            hint="Give the step's service account the verbs get, create and delete on pods, and get on pods/log there.",
        ) from error
    server = ReleasePod(api, pod, digest=digest, folder=folder, log=log)
    server.wait_ready(project.settings.serving.start_timeout_seconds)
    return server


def _read_own_pod(api: Any, namespace: str) -> dict[str, str]:  # noqa: ANN401 - the client has no types
    own = call_method(api.read_namespaced_pod, os.environ["HOSTNAME"], namespace)
    return {"name": own.metadata.name, "uid": own.metadata.uid}
