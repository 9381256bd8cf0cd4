"""`sluice runs resume` says what an answer means: on Argo it approves nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner
from workflow_nodes import RUN, children, node, output, workflow

from sluice.cli.pipelines import run_listing
from sluice.engines.argo.engine import ArgoEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.kubernetes_calls import Kind
    from sluice.project.projects import Project

RELEASE = "sha256:0123456789ab"


@dataclass
class StoredWorkflow:
    """The one Workflow of a namespace."""

    stored: dict[str, Any]
    namespace: str = "ml"
    replaced: list[Mapping[str, Any]] = field(default_factory=list)

    def get(self, kind: Kind, name: str) -> dict[str, Any]:
        del kind, name
        return self.stored

    def replace(self, kind: Kind, changed: Mapping[str, Any]) -> bool:
        del kind
        self.replaced.append(changed)
        return True


@pytest.fixture
def waiting(small_project: Project, monkeypatch: pytest.MonkeyPatch) -> StoredWorkflow:
    """A run on Argo that is suspended at its approval."""
    stored = workflow(
        node("", "DAG", "Running", children=children("package")),
        node("package", outputs=output(f'"{RELEASE}cdef"', 0)),
        node("approval", "Suspend", "Running", outputs={"parameters": [{"name": "Output", "valueFrom": {"supplied": {}}}]}),
        phase="Running",
        suspend=True,
    )
    api = StoredWorkflow(stored)
    monkeypatch.setattr(run_listing, "_open", lambda *_: ArgoEngine(small_project, api))  # type: ignore[arg-type]
    return api


def test_resuming_a_run_on_argo_says_that_it_approves_nothing_and_who_does(waiting: StoredWorkflow) -> None:
    done = CliRunner().invoke(run_listing.app, ["resume", RUN, "--by", "ben", "--yes", "--output", "json"])
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)["data"]
    assert data["detail"] == f"the step approval has its answer: the run goes on and requests the rollout of release {RELEASE}"
    assert data["next"].startswith(f"`sluice rollout approve {RELEASE}`, by a person with the Role sluice-approver")
    assert len(waiting.replaced) == 1


def test_the_question_before_it_speaks_of_a_request_and_not_of_an_approval(
    waiting: StoredWorkflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(run_listing, "confirm", lambda _yes, _output, question, **_: asked.append(question))
    assert CliRunner().invoke(run_listing.app, ["resume", RUN]).exit_code == 0
    assert asked == [
        f"Let run {RUN} go on, so that it requests the rollout of release {RELEASE}? This does not approve the rollout."
    ]
    assert len(waiting.replaced) == 1


def test_without_a_terminal_the_refusal_says_what_would_happen(waiting: StoredWorkflow) -> None:
    done = CliRunner().invoke(run_listing.app, ["resume", RUN])
    assert "this command lets a run request a rollout" in str(done.exception)
    assert not waiting.replaced
