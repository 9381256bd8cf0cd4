"""The doctor compares the settings with the namespace of the pipelines, and says what it may not read."""

from __future__ import annotations

from typing import Any

import pytest

from sluice.doctor.machine import check_machine, check_serving
from sluice.doctor.objects import check_kfp_accounts, check_object, check_security, check_settings_for_pods, judge_security
from sluice.engines.argo.api_server import RefusedCallError
from sluice.engines.argo.refusals import Refusal
from sluice.project.projects import Project
from sluice.project.settings import Settings

DIGEST = f"sha256:{'1' * 64}"


def make_settings(**tables: dict[str, Any]) -> Settings:
    required = {
        "project": {"name": "shop"},
        "data": {"snapshot": "rows.csv", "holdout": "holdout.csv", "load": "m:f", "label": "y", "id": "id"},
        "model": {"build": "m:f"},
    }
    return Settings(**{key: required.get(key, {}) | tables.get(key, {}) for key in {*required, *tables}})  # type: ignore[arg-type]


class Answers:
    """Answers a call as an API server does: with an object, or with a refusal."""

    namespace = "steps"

    def __init__(self, status: int = 200, labels: dict[str, str] | None = None) -> None:
        self.status, self.labels = status, labels

    def call(self, method: str, path: str) -> dict[str, Any]:
        if self.status != 200:
            raise RefusedCallError(Refusal(status=self.status, message="no", call=f"{method} {path}", server="https://api"))
        return {"metadata": {"labels": self.labels}}


@pytest.mark.parametrize(
    ("security", "enforced", "outcome"),
    [
        ("", "restricted", "fail"),
        ("baseline", "restricted", "fail"),
        ("restricted", "restricted", "pass"),
        ("", "baseline", "pass"),
        ("", "", "pass"),
        ("restricted", "", "pass"),
    ],
)
def test_the_level_of_the_namespace_is_compared_with_the_setting(security: str, enforced: str, outcome: str) -> None:
    found = judge_security(security, enforced, "steps")
    assert (found.outcome, "namespace steps" in found.detail) == (outcome, True)


def test_a_namespace_that_may_not_be_read_is_a_note() -> None:
    assert check_security(Answers(403), "").outcome == "note"  # type: ignore[arg-type]
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    assert check_security(Answers(labels=labels), "").outcome == "fail"  # type: ignore[arg-type]
    assert check_security(Answers(labels=None), "").outcome == "pass"  # type: ignore[arg-type]


@pytest.mark.parametrize(("status", "outcome"), [(200, "pass"), (404, "fail"), (403, "note")])
def test_an_object_that_may_not_be_read_is_a_note_and_one_that_is_missing_must_be_fixed(status: int, outcome: str) -> None:
    found = check_object(Answers(status), "argo.service_account", "serviceaccounts", "gate")  # type: ignore[arg-type]
    assert (found.outcome, "gate" in found.detail, "namespace steps" in found.detail) == (outcome, True, True)


def test_the_settings_without_which_the_first_step_fails_are_named() -> None:
    found = check_settings_for_pods(make_settings())
    assert found.outcome == "fail"
    assert (
        found.detail
        == "the first step fails, because these settings are missing: serving.repository, gate.config_map, data.holdout_digest"
    )
    complete = {"data": {"holdout_digest": DIGEST}, "gate": {"config_map": "steps/ledger"}}
    assert check_settings_for_pods(make_settings(**complete, serving={"repository": "r.example/shop"})).outcome == "pass"
    in_steps = {"env": {"SLUICE_SERVING__REPOSITORY": "r.example/shop"}}
    assert check_settings_for_pods(make_settings(**complete, steps=in_steps)).outcome == "pass"


def test_without_accounts_for_kfp_nothing_is_asked_and_without_a_cluster_there_is_a_note(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert check_kfp_accounts(Project(tmp_path, make_settings())) == []
    kfp = {"service_account": "sluice-run", "token_secrets": {"gate": "sluice-gate-token"}}
    argo = {"server": "https://127.0.0.1:9"}
    (found,) = check_kfp_accounts(Project(tmp_path, make_settings(kfp=kfp, argo=argo)))
    assert found.outcome == "note"
    assert "kfp.service_account, kfp.token_secrets.gate" in found.detail


def test_a_missing_serving_environment_is_a_note_if_pods_run_the_steps_and_serve(tmp_path: Any) -> None:
    project = Project(tmp_path, make_settings(serving={"python": "nowhere/python"}))
    assert check_serving(project, serves_here=True).outcome == "fail"
    found = check_serving(project, serves_here=False)
    assert (found.outcome, "sluice serve" in found.fix) == ("note", True)
    (same,) = [each for each in check_machine(project, serves_here=False) if each.subject == "serving environment"]
    assert same == found
