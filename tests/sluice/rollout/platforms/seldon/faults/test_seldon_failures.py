"""The controller in the simulated cluster: what failed in a canary, and requests for a release that is condemned."""

from __future__ import annotations

import dataclasses

import pytest
from simulated_cluster import SimulatedCluster, SimulatedServer

from sluice.rollout.decisions.states import Phase
from sluice.rollout.failures import ErrorKind, find_last_words
from sluice.rollout.journals import JOURNAL
from sluice.rollout.platforms.seldon.api import MODEL_ROLLOUT
from sluice.rollout.platforms.seldon.objects.pod_watches import PodWatch
from sluice.rollout.platforms.seldon.objects.predictors import PackagedRelease, build_predictor
from sluice.rollout.platforms.seldon.objects.serving_pods import ServingPod, read_pod
from sluice.rollout.platforms.seldon.platform import SeldonPlatform
from sluice.rollout.platforms.seldon.resources.rollout_specs import accept_spec
from sluice.rollout.platforms.seldon.resources.rollout_statuses import MAX_JOURNAL_BYTES, dump_journal

A, B = (f"sha256:{letter * 64}" for letter in "ab")
ERROR = ErrorKind(kind="ValueError in model.py:7 (predict)", count=12, text="x" * 300, example="y" * 600)


def roll_back_bad_canary() -> SimulatedCluster:
    cluster = SimulatedCluster(seed=1)
    cluster.make_champion(A, 1)
    cluster.servers[B] = SimulatedServer(error_rate=1.0)
    cluster.request(B, 2)
    cluster.approve(B)
    cluster.list_errors = lambda _rollout: (ERROR,)  # type: ignore[method-assign]
    published = []
    control = cluster.controller()
    control.platform.record = published.append  # type: ignore[attr-defined]
    cluster.run(control, until=lambda journal: journal.request is None)
    cluster.run(control, until=lambda journal: journal.rollouts[-1].failure is not None, max_rounds=5)
    assert any("what failed: ValueError in model.py:7 (predict), 12 times" in one.reason for one in published), (
        "the event says it"
    )
    return cluster


def make_spec(**changes: object) -> dict[str, object]:
    release = {"digest": B, "image": f"churn@{B}", "number": 2}
    return {"release": release, "steps": [5, 100], "requestedBy": "ci", "requestID": "again", **changes}


def test_the_journal_keeps_what_failed_and_the_condemned_release() -> None:
    cluster = roll_back_bad_canary()
    journal = cluster.journal.read()
    assert journal.rollouts[-1].outcome is Phase.ROLLED_BACK
    assert journal.rollouts[-1].failure is not None
    assert journal.rollouts[-1].failure.errors == (ERROR,)
    assert journal.find_condemnation(B) is not None


def test_the_controller_ignores_a_request_for_a_condemned_release_without_a_reason() -> None:
    cluster = roll_back_bad_canary()
    journal = cluster.journal.read()
    assert accept_spec(journal, make_spec(), now=cluster.now).request is None
    assert accept_spec(journal, make_spec(again="x" * 5000), now=cluster.now).request is None
    accepted = accept_spec(journal, make_spec(again="the node was full"), now=cluster.now)
    assert accepted.request is not None
    assert "the node was full" in accepted.transitions[-1].reason
    cluster.api.merge(MODEL_ROLLOUT, "churn", {"spec": make_spec()}, manager="ci")
    assert cluster.journal.read().request is None


def test_a_journal_with_many_failures_fits_its_object() -> None:
    journal = roll_back_bad_canary().journal.read()
    ended = journal.rollouts[-1]
    failure = dataclasses.replace(ended.failure, errors=(ERROR,) * 5, log=("z" * 200,) * 9)  # type: ignore[type-var]
    rollouts = tuple(dataclasses.replace(ended, failure=failure if number >= 15 else None) for number in range(20))
    text = dump_journal(dataclasses.replace(journal, rollouts=rollouts, condemned=journal.condemned * 50))
    assert len(text) <= MAX_JOURNAL_BYTES
    assert JOURNAL.validate_json(text).transitions


def test_the_log_of_a_server_that_failed_comes_with_its_pod() -> None:
    release = PackagedRelease(B, 2, f"churn@{B}")
    predictor = build_predictor(release, SimulatedCluster().settings, replicas=1)
    container = predictor["componentSpecs"][0]["spec"]["containers"][0]
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    ended = {"terminated": {"exitCode": 1, "message": "Traceback (most recent call last):\nValueError: bad city Paris\n"}}
    pod = read_pod(
        {
            "metadata": {"uid": "1", "name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": predictor["componentSpecs"][0]["spec"],
            "status": {"containerStatuses": [{"name": "model", "restartCount": 1, "state": {"running": {}}, "lastState": ended}]},
        }
    )
    assert pod.last_log.splitlines() == ["Traceback (most recent call last):", "ValueError: bad city Paris"]


REFUSAL = "refused: this environment differs from the one that the model was fitted in: python is 3.12.1"
LOG = f"""\
[2026-11-30 16:25:33 +0000] [7] [INFO] Booting worker with pid: 9
a row of a customer: Ada, 31
2026-11-30 16:25:34,001 - sluice.serving:load:91 - CRITICAL: {REFUSAL}
[2026-11-30 16:25:34 +0000] [1] [INFO] Shutting down: Master
"""


def test_a_release_whose_server_does_not_start_says_why_in_the_status_the_history_and_the_event() -> None:
    cluster, published = SimulatedCluster(seed=1), []
    cluster.make_champion(A, 1)
    cluster.servers[B] = SimulatedServer(ready_after=1e9, log=LOG)
    cluster.request(B, 2)
    control = cluster.controller()
    assert isinstance(control.platform, SeldonPlatform)
    control.platform.record = published.append
    cluster.servers[B].broken = "Error"
    shown, platform = f"Error (it ended with code 3: {REFUSAL})", control.platform
    cluster.run(control, until=lambda _: any(one["waiting"] == shown for one in platform.status.get("servers", [])))
    cluster.servers[B].broken = "CrashLoopBackOff"
    cluster.run(control, until=lambda journal: journal.request is None)
    cluster.run(control, until=lambda journal: journal.rollouts[-1].failure is not None, max_rounds=10)
    ended = cluster.journal.read().rollouts[-1]
    assert (ended.outcome, ended.failure is not None) == (Phase.REJECTED, True)
    assert REFUSAL in ended.reason
    assert any(REFUSAL in line for line in ended.failure.list_lines())  # type: ignore[union-attr]
    assert not any("Ada" in line for line in ended.failure.list_lines()), "values stay hidden"  # type: ignore[union-attr]
    assert any(one.to_state == "rejected" and f"what failed: {REFUSAL}" in one.reason for one in published), "the event says it"


def test_the_log_outlives_the_pods_of_a_release_that_was_rejected() -> None:
    watch = PodWatch()
    pod = dataclasses.replace(make_pod(), last_log=LOG)
    watch.observe([B], [pod])
    watch.observe([B], [])
    assert watch.last_logs[B] == LOG


def make_pod() -> ServingPod:
    metadata = {"uid": "1", "name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"}
    env = [{"name": "SLUICE_RELEASE_DIGEST", "value": B}]
    return read_pod({"metadata": metadata, "spec": {"containers": [{"name": "model", "image": "i", "env": env}]}})


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (LOG.splitlines(), REFUSAL),
        (["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'secret'"], "ModuleNotFoundError"),
        (
            ["[2026-11-30 16:25:33] [7] [INFO] Shutting down: Master"],
            "[2026-11-30 16:25:33] [7] [INFO] Shutting down: Master",
        ),
        (["a row of a customer: Ada, 31"], ""),
        ([], ""),
    ],
)
def test_the_last_words_of_a_server_contain_no_values(lines: list[str], words: str) -> None:
    assert find_last_words(lines) == words
