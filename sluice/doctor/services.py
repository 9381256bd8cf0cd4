"""Questions to the registry of releases and to Kubeflow Pipelines."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from sluice.doctor.findings import FAIL, NOTE, PASS, Finding, ask, collecting
from sluice.engines.kfp.connection import connect, endpoint_of, ui_url_of
from sluice.release.registry.image_references import read_image_reference
from sluice.release.registry.registry_client import RegistryClient

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.release.store.layout import Descriptor

_EMPTY = b"{}"
"""The blob that is written to see whether pushing is allowed: OCI's empty document. Registries delete it when they clean up."""

_SECONDS = 10.0


def check_registry(project: Project) -> list[Finding]:
    """Return the findings about the registry: whether the serving image can be pulled, and whether a release can be pushed."""
    table = project.settings.serving
    findings = []
    if table.image:
        findings.append(ask("serving image", lambda: _pull(table.image, plain_http=table.plain_http)))
    if table.repository:
        findings.append(ask("registry of releases", lambda: _push(table.repository, plain_http=table.plain_http)))
    else:
        text = "serving.repository is not set, so releases stay on this machine"
        findings.append(Finding("registry of releases", NOTE, text, "A cluster needs a registry: set serving.repository."))
    return findings


def _pull(image: str, *, plain_http: bool) -> str:
    reference = read_image_reference(image)
    with RegistryClient(reference.host, reference.repository, plain_http=plain_http) as client:
        client.read_manifest(reference.target)
    return f"{image} can be pulled"


def _push(repository: str, *, plain_http: bool) -> str:
    reference = read_image_reference(repository)
    with (
        RegistryClient(reference.host, reference.repository, plain_http=plain_http) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        file = Path(folder) / "empty.json"
        file.write_bytes(_EMPTY)
        digest = f"sha256:{hashlib.sha256(_EMPTY).hexdigest()}"
        descriptor: Descriptor = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": len(_EMPTY)}
        sent = client.write_blob(descriptor, file)
    return f"{repository} accepts blobs" + ("" if sent else " (it has the test blob already)")


def check_kfp(project: Project) -> list[Finding]:
    """Return the findings about Kubeflow Pipelines: its API, the clock, and the link to its user interface."""
    findings: list[Finding] = []
    with collecting(findings, "Kubeflow Pipelines"):
        client = connect(project.settings.kfp)
        health = client.get_kfp_healthz()
        users = "several users" if health.multi_user else "a single user"
        findings.append(Finding("Kubeflow Pipelines", PASS, f"the API at {endpoint_of(client)} answers, for {users}"))
        if health.multi_user and not project.settings.kfp.namespace:
            text = "KFP has several users, and kfp.namespace is not set"
            findings.append(Finding("kfp.namespace", FAIL, text, "Set kfp.namespace to your profile's namespace."))
        findings.append(_check_link(ui_url_of(client, project.settings.kfp)))
    return findings


def _check_link(url: str) -> Finding:
    try:
        answer = httpx.get(f"{url}/", timeout=_SECONDS, follow_redirects=True)
    except httpx.HTTPError as error:
        return Finding(
            "KFP's user interface", NOTE, f"{url} does not answer: {error}", "Set kfp.ui_url to the URL that people open."
        )
    if "html" in answer.headers.get("content-type", ""):
        return Finding("KFP's user interface", PASS, f"{url} answers")
    fix = "Set kfp.ui_url or $KF_PIPELINES_UI_ENDPOINT to the URL that people open, so that links to runs work."
    return Finding("KFP's user interface", NOTE, f"{url} is no page (status {answer.status_code})", fix)
