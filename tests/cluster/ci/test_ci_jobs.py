"""The jobs of the CI workflow, in order and in separate folders: what is rolled out is what was tested.

The registry, the gate's ledger, the approval and the request are real. No controller runs, so the request stays a request.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from workflow_runner import ROOT, Runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollout_namespaces import Kube

PROGRAMS = ("docker-registry", "jq", "git")
REVIEWER, REPOSITORY = "bea", "churn/releases"
APPROVALS = [{"state": "approved", "user": {"login": REVIEWER}, "environments": [{"name": "production"}]}]
GH = "#!/bin/sh\ncat <<'END' | jq -r \"$4\"\n{answer}\nEND\n"


@pytest.fixture(scope="module")
def kube() -> Kube:
    from rollout_namespaces import Kube, register_own_kinds

    if not os.environ.get("KUBECONFIG"):
        pytest.skip("the jobs of CI: $KUBECONFIG names no cluster")
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"the jobs of CI: {', '.join(missing)} is not installed")
    found = Kube()
    register_own_kinds(found)
    return found


@pytest.fixture(scope="module")
def namespace(kube: Kube) -> Iterator[str]:
    """Make a namespace with an empty ledger and with a lease that a controller seems to hold."""
    name = f"sluice-ci-{secrets.token_hex(3)}"
    kube.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    kube.ask("POST", f"/api/v1/namespaces/{name}/configmaps", {"metadata": {"name": "ledger"}})
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease = {"holderIdentity": "controller", "leaseDurationSeconds": 3600, "renewTime": now, "acquireTime": now}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{name}/leases"
    kube.ask("POST", path, {"metadata": {"name": "churn-rollout"}, "spec": lease})
    yield name
    kube.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="module")
def runner(namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    from registry_servers import put_base, registry_server

    from sluice.release.registry.registry_client import RegistryClient

    folder = tmp_path_factory.mktemp("ci")
    programs = folder / "programs"
    programs.mkdir()
    (programs / "gh").write_text(GH.format(answer=json.dumps(APPROVALS)))
    (programs / "gh").chmod(0o755)
    workflow = yaml.safe_load((ROOT / ".github/workflows/ml-cicd.yml").read_text())
    with registry_server(folder / "registry") as host:
        with RegistryClient(host, "serving", plain_http=True) as registry:
            put_base(registry, folder)
        environment = {
            "SLUICE_SERVING__REPOSITORY": f"{host}/{REPOSITORY}",
            "SLUICE_SERVING__IMAGE": f"{host}/serving:latest",
            "SLUICE_SERVING__PLAIN_HTTP": "true",
            "SLUICE_GATE__CONFIG_MAP": f"{namespace}/ledger",
            "SLUICE_SELDON__NAMESPACE": namespace,
            "GITHUB_REPOSITORY": "owner/repository",
            "GITHUB_RUN_ID": "7",
            "GITHUB_SERVER_URL": "https://github.example.com",
            "GITHUB_ACTOR": "pusher",
        }
        yield Runner(workflow, folder, environment, programs)


def test_the_jobs_of_a_pull_request_end_without_an_account_in_the_cluster(runner: Runner) -> None:
    folder = runner.folder / "pull-request"
    visitor = dataclasses.replace(runner, folder=folder, event="pull_request", outputs={"gate": {}}, logged_in=[])
    visitor.folder.mkdir()
    for job in ("code-tests", "data-tests", "model-tests", "integration-tests", "preview"):
        visitor.play(job)
    assert visitor.logged_in == []
    summary = (visitor.clone("preview") / "github-summary.md").read_text()
    assert "It was compared with no champion, because the champion is in a cluster" in summary


def read_result(runner: Runner, job: str, layer: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((runner.clone(job) / ".sluice/layers" / layer / "result.json").read_text())
    return document


def test_the_release_that_is_requested_is_the_one_that_was_tested_and_approved(
    kube: Kube, namespace: str, runner: Runner
) -> None:
    step = runner.workflow["jobs"]["rollout"]["steps"][-1]
    step["run"] = step["run"].replace(" --wait", "")  # no controller runs
    for job in ("code-tests", "data-tests", "model-tests", "gate", "integration-tests", "approve", "rollout"):
        runner.play(job)
    assert runner.logged_in == ["gate", "approve", "rollout"], "no other job has an account in the cluster"
    release = runner.outputs["gate"]["release"]
    assert release.startswith("sha256:")

    # What was tested: the model of the model tests, packaged once, pulled by the integration tests.
    assert read_result(runner, "integration-tests", "integration")["subject"] == release
    manifest = json.loads((runner.clone("gate") / "release.json").read_text())["data"]["manifest"]
    assert manifest["model"]["digest"] == read_result(runner, "model-tests", "model")["subject"]
    assert sorted(manifest["verdicts"]) == ["code", "data", "model"]
    trained = [job for job in runner.outputs if (runner.clone(job) / ".sluice/models").is_dir()]
    assert trained == ["model-tests", "gate"], "only the model tests train, and only the gate's job gets the model"

    # What was approved, by whom, and what was requested.
    (approval,) = (one["spec"] for one in kube.list(f"/apis/sluice.dev/v1alpha1/namespaces/{namespace}/rolloutapprovals"))
    assert (approval["digest"], approval["reviewer"]) == (release, REVIEWER)
    (rollout,) = kube.list(f"/apis/sluice.dev/v1alpha1/namespaces/{namespace}/modelrollouts")
    request = rollout["spec"]["release"]
    assert (request["digest"], request["image"]) == (release, approval["image"])

    # The reviewer saw the digest and the drift, and the gate was asked once.
    summary = (runner.clone("gate") / "github-summary.md").read_text()
    assert release in summary
    assert "**Gate**" in summary
    (ledger,) = (one for one in kube.list(f"/api/v1/namespaces/{namespace}/configmaps") if one["metadata"]["name"] == "ledger")
    assert json.dumps(ledger["data"]).count("challenger") == 1
