"""The doctor looks for the Secret with the executor's token where Argo's controller takes it from."""

from __future__ import annotations

from sluice.doctor.clusters import find_token_secret


def test_the_secret_has_the_name_that_argo_derives_unless_the_account_names_another_one() -> None:
    account = {"metadata": {"name": "sluice-executor"}}
    assert find_token_secret(account) == "sluice-executor.service-account-token"
    annotated = {"metadata": account["metadata"] | {"annotations": {"workflows.argoproj.io/service-account-token.name": "mine"}}}
    assert find_token_secret(annotated) == "mine"
    assert find_token_secret(annotated | {"secrets": [{"name": "listed"}]}) == "listed"
