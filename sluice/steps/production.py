"""The steps that touch production: the approval, and the canary that writes a request and waits for its outcome."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from sluice.errors import RefusedError, RolledBackError, ServiceError
from sluice.project.projects import read_project
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.requests import approvals, histories, outcomes, starts, statuses
from sluice.steps.records import read_rejection, record_part, running_step

if TYPE_CHECKING:
    from sluice.project.projects import Project

POLL_SECONDS, CLUSTER_POLL_SECONDS = 0.2, 2.0

SECONDS_RECORDED_AFTER_END = 1.5
"""How long after a rollout's end its record still looks: that traffic goes on where it was sent is part of the picture."""


def wait_for_approval(release: str) -> str:
    """Wait until somebody has approved this release for production.

    Args:
        release: The release's digest.

    Returns:
        Who approved it; empty where it is the champion already.

    Raises:
        RefusedError: Nobody did within ``rollout.approval_seconds``, or the person who was asked said no.
    """
    project = read_project()
    with running_step("approval") as step:
        number = ReleaseStore(project.state / "releases").get(release).number
        if statuses.read_status(project).champion == release:
            step.detail = f"release {number} is champion already"
            return ""
        deadline = time.monotonic() + project.settings.rollout.approval_seconds
        step.wait(f"release {number} waits for: sluice rollout approve {number}")
        while (approval := approvals.find_approval(project, release)) is None:
            if (refused_by := read_rejection()) is not None:
                raise RefusedError(
                    f"{refused_by} refused release {number}: nothing was rolled out",
                    hint=f"`sluice rollout start {number}` and `sluice rollout approve {number}` take it up after all.",
                )
            if time.monotonic() > deadline:
                raise RefusedError(
                    f"nobody approved release {number} within {project.settings.rollout.approval_seconds:.0f} s",
                    hint=f"`sluice rollout start {number}` and `sluice rollout approve {number}` take it up again.",
                )
            time.sleep(CLUSTER_POLL_SECONDS if project.settings.rollout.in_cluster else POLL_SECONDS)
        step.detail = f"by {approval.by}"
    return approval.by


def run_canary(release: str, by: str) -> str:
    """Ask for the rollout and wait for its end.

    Args:
        release: The release's digest.
        by: Who asked.

    Returns:
        ``"promoted"``.

    Raises:
        RolledBackError: The canary was condemned, aborted or ran out of time.
        NotServingError: No supervisor is running.
    """
    project = read_project()
    with running_step("canary") as step:
        store = ReleaseStore(project.state / "releases")
        number = store.get(release).number
        starts.request_rollout(project, release, by=by)
        if by and project.settings.rollout.in_cluster:
            _record_workflow_approval(project, release, by)
        step.wait(f"release {number}: {' → '.join(map(str, project.settings.rollout.steps))} %")
        outcome = outcomes.wait_for_outcome(project, release, timeout=project.settings.rollout.deadline_seconds)
        time.sleep(SECONDS_RECORDED_AFTER_END)
        evidence = histories.read_rollout(project, release)
        record_part("rollout", evidence)
        store.attach(release, "rollout", evidence)
        if outcome != "promoted":
            raise RolledBackError(
                f"release {number} was {outcome.replace('_', ' ')}: {evidence['reason']}",
                hint="Production is on the stable release. `sluice report` shows the evidence.",
            )
        step.detail = f"release {number} is champion"
    return outcome


def _record_workflow_approval(project: Project, release: str, by: str) -> None:
    """Argo's approval is a suspended node: whoever resumed it told the workflow, which writes it down.

    Where its account may not approve, the rollout waits for somebody who may.
    """
    if approvals.find_approval(project, release) is None:
        with contextlib.suppress(ServiceError):
            approvals.approve(project, release, by=by, note="given to the pipeline")
