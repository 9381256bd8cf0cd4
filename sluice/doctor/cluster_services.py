"""Questions to what runs in a cluster beside the API server: the artifact store, Seldon's operator, and the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from sluice.doctor.findings import FAIL, NOTE, PASS, Finding
from sluice.engines.argo.api_server import ApiServer, RefusedCallError
from sluice.errors import ServiceError
from sluice.rollout.platforms.seldon.counters.gateway import Gateway

if TYPE_CHECKING:
    from sluice.engines import Engine
    from sluice.project.tables.seldon import SeldonTable

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
        text = "this account may not list the Deployments of all namespaces, so this could not be checked"
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


def check_gateway_metrics(api: ApiServer, table: SeldonTable) -> Finding:
    """Ask whether the gateway's metrics can be read, without which no release advances.

    The default name is known only inside the cluster. From outside, the API server says whether the Service has proxies.
    """
    subject = "gateway's metrics"
    if table.counters == "executors":
        text = 'seldon.counters is "executors", so any Pod that reaches an executor can decide a rollout'
        return Finding(subject, NOTE, text, 'Set seldon.counters = "gateway".')
    gateway = Gateway(table.gateway_metrics)
    try:
        gateway.read(())
    except ServiceError as error:
        return _check_service(api, subject, httpx.URL(table.gateway_metrics).host, error)
    finally:
        gateway.close()
    return Finding(subject, PASS, f"every proxy at {table.gateway_metrics} gives its metrics")


def _check_service(api: ApiServer, subject: str, host: str, problem: ServiceError) -> Finding:
    """Return the finding about a Service whose proxies do not answer here."""
    name, _, rest = host.partition(".")
    namespace = rest.partition(".")[0]
    if not namespace or namespace.isdecimal() or ":" in host:  # the name of another network, or an address
        return Finding(subject, FAIL, str(problem), str(problem.hint))
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    try:
        slices = api.call("GET", path, query={"labelSelector": f"kubernetes.io/service-name={name}"})["items"]
    except RefusedCallError:
        text = f"{problem}; this account may not ask whether the Service {host} has proxies"
        return Finding(subject, NOTE, text, "The status of the rollout says whether the controller can read them.")
    proxies = sum(len(one.get("endpoints") or ()) for one in slices)
    if not proxies:
        return Finding(subject, FAIL, f"{problem}; no Service {host} selects a Pod", str(problem.hint))
    text = f"the Service {host} has {proxies} proxies; they cannot be read from here, but only in the cluster"
    return Finding(subject, NOTE, text, "The status of the rollout says whether the controller can read them.")
