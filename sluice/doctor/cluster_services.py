"""Questions to what runs in a cluster beside the API server: the artifact store, Seldon's operator, and the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from sluice.doctor.findings import FAIL, NOTE, PASS, Finding
from sluice.engines.argo.api_server import ApiServer, RefusedCallError

if TYPE_CHECKING:
    from sluice.engines import Engine

OPERATOR = "control-plane=seldon-controller-manager"
"""Label of the Deployment of Seldon Core's operator 1.x."""

_SECONDS = 10.0


def check_artifact_store(engine: Engine) -> Finding:
    """Ask whether what the steps of the last run wrote can be read here. The run shows that the steps can write it."""
    subject = "artifact store"
    ended = [run for run in engine.list() if run.outcome not in {"running", "waiting"}]
    if not ended:
        text = "no run of this project has ended, so nobody knows whether its steps can write artifacts and you can read them"
        return Finding(subject, NOTE, text, "Run `sluice submit ci --watch`, and then the doctor again.")
    problems = engine.result(ended[0].id).notes
    if problems:
        text = f"the records of run {ended[0].id} cannot be read: {problems[0]}"
        return Finding(subject, FAIL, text, "docs/how-to/argo.md says where the access keys come from.")
    return Finding(subject, PASS, f"the steps of run {ended[0].id} wrote their records, and they can be read here")


def check_operator(api: ApiServer) -> Finding:
    """Ask whether Seldon's operator runs. Only accounts that may list Deployments of all namespaces get an answer."""
    subject = "Seldon's operator"
    try:
        found = api.call("GET", "/apis/apps/v1/deployments", query={"labelSelector": OPERATOR})["items"]
    except RefusedCallError:
        text = "this account may not list the Deployments of all namespaces, so nobody knows whether the operator runs"
        return Finding(subject, NOTE, text, "Ask the people who run the cluster.")
    ready = [one["metadata"]["namespace"] for one in found if (one.get("status") or {}).get("readyReplicas")]
    if ready:
        return Finding(subject, PASS, f"it runs in namespace {', '.join(ready)}")
    text = "its Deployment is not ready" if found else f"no Deployment has the label {OPERATOR}"
    return Finding(subject, FAIL, text, "Install Seldon Core 1.17.1, or look at the operator's log.")


def check_gateway(url: str) -> Finding:
    """Ask whether the gateway for users answers. Any answer counts, because the path belongs to a release."""
    subject = "gateway"
    if not url:
        return Finding(subject, NOTE, "seldon.url is not set", "Set it to the gateway's URL, and reports and the status show it.")
    try:
        answer = httpx.get(url, timeout=_SECONDS)
    except httpx.HTTPError as error:
        return Finding(subject, FAIL, f"{url} does not answer: {error}", "Correct seldon.url, or look at the ingress gateway.")
    return Finding(subject, PASS, f"{url} answers (status {answer.status_code})")
