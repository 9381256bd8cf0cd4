"""The conditions of a ModelRollout: in each state, each of them says why it holds or does not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sluice.rollout.decisions.states import ChampionTerm, Command, CommandKind, Condemnation, EndedRollout, Journal, Phase, State
from sluice.rollout.platforms.seldon.resources.rollout_specs import accept_spec
from sluice.rollout.platforms.seldon.resources.rollout_statuses import Report, build_status

A, B = (f"sha256:{letter * 64}" for letter in "ab")
NOW = 1_800_000_000.0
CHAMPION = Journal(history=(ChampionTerm(release=A, by="ci", at=1.0, number=1, image=f"churn@{A}"),), weights={A: 100})
READY = ({"release": A, "ready": True},)


def request(digest: str = B, number: int = 2, **more: Any) -> dict[str, Any]:
    """Return a spec with a request."""
    release = {"digest": digest, "image": f"churn@{digest}", "number": number}
    return {"release": release, "steps": [5, 100], "requestedBy": "ci"} | more


def read_conditions(journal: Journal, spec: dict[str, Any], report: Report) -> dict[str, tuple[str, str]]:
    """Return the status and the message of each condition."""
    status = build_status(journal, {"metadata": {"name": "churn", "generation": 1}, "spec": spec}, report, epoch=1, now=NOW)
    return {one["type"]: (one["status"], one["message"]) for one in status["conditions"]}


def end_rollout(journal: Journal, outcome: Phase, reason: str, *, stable: str | None = A) -> Journal:
    """Return the journal after a rollout of B ended."""
    ended = EndedRollout(
        id="r", release=B, number=2, stable=stable, outcome=outcome, reason=reason, by="ci", started=2.0, ended=3.0
    )
    return dataclasses.replace(journal, rollouts=(ended,), state=State(phase=outcome), last_request_id="r")


def run(phase: Phase, spec: dict[str, Any]) -> Journal:
    """Return the journal while a rollout of B is running."""
    journal = accept_spec(CHAMPION, spec, now=NOW)
    assert journal.request is not None
    return dataclasses.replace(journal, state=State(phase=phase, step=0, since=NOW))


CASES = {
    "nothing was ever requested": (
        Journal(),
        {},
        Report(message="there is no champion yet"),
        {
            "Ready": ("False", "there is no champion yet, so nothing answers"),
            "Progressing": ("False", "no rollout is running: no release is requested"),
            "Promoted": ("False", "no release is requested"),
            "Failed": ("False", "the requested release has not failed"),
        },
    ),
    "a release waits for its approval": (
        run(Phase.AWAITING_APPROVAL, request()),
        request(),
        Report(message="waits for an approval", servers=READY),
        {
            "Ready": ("True", "the champion r1-aaaaaaaa answers"),
            "Progressing": ("True", "waits for an approval"),
            "AwaitingApproval": ("True", "waits for an approval"),
            "Promoted": ("False", "waits for an approval"),
        },
    ),
    "a canary takes traffic, and the champion is down": (
        run(Phase.STEP, request()),
        request(),
        Report(servers=({"release": A, "ready": False, "failure": "it crashes", "waiting": "back-off"},)),
        {
            "Ready": ("False", "the server of the champion r1-aaaaaaaa is not ready; it crashes; back-off"),
            "Progressing": ("True", "the rollout is in state step-1"),
            "AwaitingApproval": ("False", "no release waits for an approval"),
        },
    ),
    "the round has a problem": (
        CHAMPION,
        request(A, 1),
        Report(problem="the metrics cannot be read"),
        {"Ready": ("False", "the metrics cannot be read")},
    ),
    "the requested release is champion": (
        CHAMPION,
        request(A, 1),
        Report(message="no rollout is running", servers=READY),
        {
            "Promoted": ("True", "release r1-aaaaaaaa is the champion"),
            "Progressing": ("False", "no rollout is running: release r1-aaaaaaaa is the champion"),
        },
    ),
    "a first release was rejected": (
        end_rollout(Journal(), Phase.REJECTED, "its server failed", stable=None),
        request(),
        Report(message="there is no champion yet"),
        {
            "Ready": ("False", "there is no champion yet, so nothing answers"),
            "Failed": ("True", "release r2-bbbbbbbb was rejected: its server failed"),
            "Promoted": ("False", "release r2-bbbbbbbb was rejected: its server failed"),
        },
    ),
    "a person rolled the champion back": (
        end_rollout(CHAMPION, Phase.ROLLED_BACK, "rolled back to N-1 by kim"),
        request(),
        Report(servers=READY),
        {"Failed": ("True", "release r2-bbbbbbbb was rolled back: rolled back to N-1 by kim")},
    ),
    "the request was taken out of the spec": (
        end_rollout(CHAMPION, Phase.ABORTED, "aborted by kim"),
        {},
        Report(servers=READY),
        {"Failed": ("True", "no release is requested; release r2-bbbbbbbb was aborted: aborted by kim")},
    ),
    "another release is requested after a failure": (
        end_rollout(CHAMPION, Phase.ABORTED, "aborted by kim"),
        request(f"sha256:{'c' * 64}", 3),
        Report(servers=READY),
        {
            "Failed": ("False", "the requested release has not failed"),
            "Promoted": ("False", "the request of release r3-cccccccc waits for the controller"),
        },
    ),
    "the request makes no sense": (
        CHAMPION,
        request(steps=[100, 5]),
        Report(servers=READY),
        {"Promoted": ("False", "the request in the spec cannot be understood")},
    ),
}


@pytest.mark.parametrize(("journal", "spec", "report", "expected"), CASES.values(), ids=CASES)
def test_each_condition_says_why(
    journal: Journal, spec: dict[str, Any], report: Report, expected: dict[str, tuple[str, str]]
) -> None:
    found = read_conditions(journal, spec, report)
    assert set(found) == {"Ready", "Progressing", "AwaitingApproval", "Promoted", "Failed"}
    assert all(message for _, message in found.values())
    assert {kind: found[kind] for kind in expected} == expected
    if journal.champion is None:
        assert not any("stable" in message for _, message in found.values()), "there is no stable release yet"


def test_a_condemned_release_that_is_requested_without_a_reason_says_why_nothing_happens() -> None:
    journal = dataclasses.replace(CHAMPION, condemned=(Condemnation(release=B, at=1.0, reason="e-value 120"),))
    assert accept_spec(journal, request(), now=NOW) == journal
    found = read_conditions(journal, request(), Report(servers=READY))
    end = "; it is condemned, so it starts again only with a reason in spec.again"
    said = f"release r2-bbbbbbbb has failed as a canary: e-value 120{end}"
    assert found["Failed"] == ("True", said)
    assert found["Promoted"] == ("False", said)
    recent = end_rollout(journal, Phase.ROLLED_BACK, "e-value 120")
    assert read_conditions(recent, request(), Report())["Failed"] == (
        "True",
        f"release r2-bbbbbbbb was rolled back: e-value 120{end}",
    )
    again = request(again="the network was down")
    assert read_conditions(accept_spec(journal, again, now=NOW), again, Report(servers=READY))["Failed"][0] == "False"


def test_the_message_of_the_status_says_how_the_last_rollout_ended_and_what_a_command_waits_for() -> None:
    rollout = {"metadata": {"name": "churn"}, "spec": request()}
    ended = end_rollout(CHAMPION, Phase.ABORTED, "aborted by kim")
    report = Report(message="rollback by kim waits: N-1's server is not ready")
    assert build_status(ended, rollout, report, epoch=1, now=NOW)["message"] == "release r2-bbbbbbbb was aborted: aborted by kim"
    waits = dataclasses.replace(ended, command=Command(kind=CommandKind.ROLLBACK, by="kim", at=NOW, id="c"))
    assert build_status(waits, rollout, report, epoch=1, now=NOW)["message"] == report.message
