"""On a real API server, the gate's account writes the ledger, and no step of a pipeline can change, delete or replace it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from manifests_cluster import kubectl, may

from sluice.data.row_sets import describe_row_set
from sluice.errors import ServiceError, StateError
from sluice.gate.ledger import Ledger
from sluice.gate.ledger_documents import GateRule, Question
from sluice.gate.stores.config_maps import KEY, ConfigMapStore, connect_config_map

if TYPE_CHECKING:
    from manifests_cluster import Installation

ROWS = describe_row_set(range(100), [0, 1] * 50)
RULE = GateRule(margin=0.005, alpha=0.05, budget=52, gate_fraction=0.5)


def open_as(installation: Installation, account: str) -> Ledger:
    """Open the ledger as a service account of the pipelines' namespace."""
    store: ConfigMapStore = connect_config_map(f"{installation.pipelines}/sluice-ledger")
    store._api.api_client.set_default_header("Impersonate-User", installation.account(account, installation.pipelines))
    return Ledger(store)


def ask(ledger: Ledger, challenger: str, *heads: str) -> str:
    question = Question(challenger=challenger, champion="champion", rule=RULE, row_set=ROWS.digest)
    return ledger.ask(question, ROWS, holdout="sha256:h", rule=RULE, heads=heads).link


@pytest.mark.parametrize(
    ("account", "verb", "name", "allowed"),
    [
        ("sluice-gate", "get", "sluice-ledger", True),
        ("sluice-gate", "update", "sluice-ledger", True),
        ("sluice-gate", "update", "another", False),
        ("sluice-gate", "delete", "sluice-ledger", False),
        ("sluice-gate", "create", "", False),
        ("sluice-pipeline", "get", "sluice-ledger", False),
        ("sluice-pipeline", "update", "sluice-ledger", False),
        ("sluice-pipeline", "patch", "sluice-ledger", False),
        ("sluice-pipeline", "delete", "sluice-ledger", False),
    ],
)
def test_only_the_gates_account_writes_the_ledger(
    installation: Installation, account: str, verb: str, name: str, allowed: bool
) -> None:
    user = installation.account(account, installation.pipelines)
    assert may(user, verb, "configmaps", installation.pipelines, name=name) == allowed


@pytest.mark.parametrize("verb", ["create", "patch", "update", "request", "rollback"])
def test_the_gates_account_can_neither_request_nor_approve(installation: Installation, verb: str) -> None:
    user = installation.account("sluice-gate", installation.pipelines)
    for resource in ("modelrollouts.sluice.dev", "modelrollouts.sluice.dev/status", "rolloutapprovals.sluice.dev"):
        assert not may(user, verb, resource, installation.production)


def test_concurrent_gates_lose_no_question_and_applying_the_manifests_again_keeps_them(installation: Installation) -> None:
    def run(name: str) -> None:
        ledger = open_as(installation, "sluice-gate")
        for number in range(4):
            ask(ledger, f"{name}-{number}")

    before = len(open_as(installation, "sluice-gate").read().questions())
    threads = [threading.Thread(target=run, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(open_as(installation, "sluice-gate").read().questions()) == before + 12
    again = installation.apply([item for item in installation.build("overlays/argo") if item["kind"] == "ConfigMap"])
    assert again.succeeded, again.error
    assert len(open_as(installation, "sluice-gate").read().questions()) == before + 12


def test_an_emptied_ledger_is_noticed_and_another_account_is_refused(installation: Installation) -> None:
    head = ask(open_as(installation, "sluice-gate"), "promoted")
    with pytest.raises(ServiceError, match="refused the gate's ledger"):
        ask(open_as(installation, "sluice-pipeline"), "next", head)
    patch = [
        "patch",
        "configmap",
        "sluice-ledger",
        "-n",
        installation.pipelines,
        "--type=merge",
        "-p",
        f'{{"data":{{"{KEY}":null}}}}',
    ]
    assert kubectl(*patch).succeeded  # an administrator can still do this
    with pytest.raises(StateError, match="was deleted, shortened or replaced"):
        ask(open_as(installation, "sluice-gate"), "next", head)
