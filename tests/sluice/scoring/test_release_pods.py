"""The Pod that serves a release for the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest  # noqa: TC002 - monkeypatch is only a type here
from kubernetes import client

from sluice import kubernetes_calls
from sluice.project.projects import read_project
from sluice.rollout.platforms.seldon.objects.predictors import PackagedRelease, build_predictor, build_spec
from sluice.scoring.release_pods import plan_pod, runs_in_pod

IMAGE = "registry.example.com/churn@sha256:" + "1" * 64
DIGEST = "sha256:" + "2" * 64
SETTINGS = read_project(Path(__file__).parents[3]).settings


def test_the_pod_runs_the_image_by_digest_and_gets_the_releases_digest_from_outside() -> None:
    pod = plan_pod(SETTINGS, IMAGE, DIGEST, owner=None)
    container = pod["spec"]["containers"][0]
    assert container["image"] == IMAGE
    assert {"name": "SLUICE_RELEASE_DIGEST", "value": DIGEST} in container["env"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/status"


def test_the_pod_has_the_settings_with_which_production_serves_the_release() -> None:
    pod = plan_pod(SETTINGS, IMAGE, DIGEST, owner=None)
    predictor = build_predictor(PackagedRelease(DIGEST, 1, IMAGE), SETTINGS, replicas=1)
    tested, served = pod["spec"]["containers"][0], predictor["componentSpecs"][0]["spec"]["containers"][0]
    for field in ("image", "env", "resources", "securityContext", "startupProbe", "readinessProbe", "livenessProbe"):
        assert tested[field] == served[field], field
    assert pod["metadata"]["annotations"].items() <= build_spec(SETTINGS)["annotations"].items()
    assert pod["metadata"]["annotations"].keys() == {"seldon.io/rest-timeout"}
    assert {"name": "podinfo", "mountPath": "/etc/podinfo"} in tested["volumeMounts"]


def test_the_pod_of_the_step_owns_the_pod() -> None:
    (owner,) = plan_pod(SETTINGS, IMAGE, DIGEST, owner={"name": "step", "uid": "u"})["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "v1", "kind": "Pod", "name": "step", "uid": "u"}


def test_the_pod_passes_the_restricted_level() -> None:
    spec = plan_pod(SETTINGS, IMAGE, DIGEST, owner=None)["spec"]
    context = spec["containers"][0]["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False


def test_a_laptop_is_not_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert runs_in_pod() is False


def test_a_pod_without_an_owner_ends_by_itself() -> None:
    pod = plan_pod(SETTINGS, IMAGE, DIGEST, owner=None)
    assert pod["metadata"]["ownerReferences"] == []
    assert 0 < pod["spec"]["activeDeadlineSeconds"] <= 24 * 3600


def test_the_token_of_the_steps_own_account_comes_before_that_of_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, shared = tmp_path / "own", tmp_path / "shared"
    monkeypatch.setattr(kubernetes_calls, "STEP_ACCOUNT", own)
    monkeypatch.setattr(kubernetes_calls, "POD_ACCOUNT", shared)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert kubernetes_calls.find_account() is None
    for folder in (shared, own):
        folder.mkdir()
        for name in ("token", "ca.crt", "namespace"):
            (folder / name).write_text(f"{name} of {folder.name}")
        assert kubernetes_calls.find_account() == folder
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
        settings = client.Configuration()
        assert kubernetes_calls.load_account(settings, folder) == f"namespace of {folder.name}"
        assert settings.get_api_key_with_prefix("authorization") == f"bearer token of {folder.name}"
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert kubernetes_calls.find_account() is None
