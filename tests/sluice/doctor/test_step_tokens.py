"""The doctor says which steps have a token, and which ones lack one that they need."""

from __future__ import annotations

from sluice.argo.component_kinds import CALL_AN_API_SERVER
from sluice.doctor.clusters import check_tokens
from sluice.project.tables.pipelines.argo import ArgoTable


def test_a_token_in_every_step_is_told_with_the_fix() -> None:
    found = check_tokens(ArgoTable())
    assert found.outcome == "note"
    assert "argo.step_tokens = false" in found.fix


def test_a_step_without_the_token_that_it_needs_is_named() -> None:
    accounts = dict.fromkeys(CALL_AN_API_SERVER, "account")
    assert check_tokens(ArgoTable(step_tokens=False, service_accounts=accounts)).outcome == "pass"
    del accounts["canary"]
    found = check_tokens(ArgoTable(step_tokens=False, service_accounts=accounts))
    assert (found.outcome, found.detail) == ("note", "no service account, and so no token, for canary")
