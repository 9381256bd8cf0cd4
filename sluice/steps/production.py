"""The two steps that concern production: one waits for an approval, the other starts the rollout and waits for its outcome."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from sluice.errors import RefusedError
from sluice.project.projects import read_project
from sluice.release.project_releases import open_releases
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import approvals, histories, outcomes, starts, statuses, step_shares
from sluice.rollout.requests.admission import check_not_condemned
from sluice.steps.records import read_rejection, record_part, running_step

if TYPE_CHECKING:
    from collections.abc import Sequence

POLL_SECONDS, CLUSTER_POLL_SECONDS = 0.2, 2.0
"""Pause between two looks for an approval: on a laptop, and in a cluster."""

SECONDS_RECORDED_AFTER_END = 1.5
"""Time after the end of a rollout that its record still covers. It shows that the traffic stays where it was sent."""


def wait_for_approval(release: str) -> str:
    """Wait until a person approves this release for production.

    Args:
        release: The release's digest.

    Returns:
        The person who approved it; empty if the release is the champion already.

    Raises:
        RefusedError: A person rejected the release, there was no approval within ``rollout.approval_seconds``, or the canary of
            this release failed before.
    """
    project = read_project()
    with running_step("approval") as step:
        number = open_releases(project).get(release).number
        if statuses.read_status(project).champion == release:
            step.detail = f"release {number} is already champion"
            return ""
        check_not_condemned(project, open_journal(project).read(), release)
        deadline = time.monotonic() + project.settings.rollout.approval_seconds
        step.wait(f"release {number} waits for `sluice rollout approve {number}`")
        while (approval := approvals.find_approval(project, release)) is None:
            if (rejected_by := read_rejection()) is not None:
                raise RefusedError(
                    f"{rejected_by} rejected release {number}, so its rollout did not start",
                    hint=f"To roll it out nevertheless: `sluice rollout start {number}`, then `sluice rollout approve {number}`.",
                )
            if time.monotonic() > deadline:
                raise RefusedError(
                    f"release {number} was not approved within {project.settings.rollout.approval_seconds:.0f} s",
                    hint=f"To roll it out later: `sluice rollout start {number}`, then `sluice rollout approve {number}`.",
                )
            time.sleep(CLUSTER_POLL_SECONDS if project.settings.rollout.in_cluster else POLL_SECONDS)
        step.detail = f"approved by {approval.by}"
    return approval.by


def run_canary(release: str, by: str) -> str:
    """Request the rollout of a release, and wait until it ends.

    Args:
        release: The release's digest.
        by: The person who requests it.

    Returns:
        ``"promoted"``.

    Raises:
        RefusedError: The canary of this release failed before.
        RolledBackError: The evidence or the deadline rolled the canary back, or a person aborted the rollout.
        NotServingError: No supervisor or controller is running.
    """
    project = read_project()
    with running_step("canary") as step:
        releases = open_releases(project)
        number = releases.get(release).number
        is_first = open_journal(project).read().champion is None
        starts.request_rollout(project, release, by=by)
        steps = step_shares.find_steps(project, open_journal(project).read(), release)
        if project.settings.rollout.in_cluster and approvals.find_approval(project, release) is None:
            waiting = _describe_missing_approval(number, by, project.settings.rollout.deadline_seconds)
            sys.stderr.write(f"{waiting}\n")  # the log is what a person sees of a step that is still running in a cluster
            step.wait(waiting)
        else:
            step.wait(_describe_traffic(number, steps, is_first=is_first))
        outcome = outcomes.wait_for_outcome(project, release, timeout=project.settings.rollout.deadline_seconds)
        time.sleep(SECONDS_RECORDED_AFTER_END)
        outcomes.wait_for_explanation(project, release)
        evidence = histories.read_rollout(project, release)
        record_part("rollout", evidence)
        releases.attach(release, "rollout", evidence)
        outcomes.check_promoted(outcome, evidence, number)
        step.detail = f"release {number} is champion"
    return outcome


def _describe_traffic(number: int | str, steps: Sequence[int], *, is_first: bool) -> str:
    """Say which shares a release gets. The first one has nothing to be compared with, so it gets all of the traffic at once."""
    shares = "100" if is_first else " → ".join(map(str, steps))
    return f"release {number} gets {shares} % of the traffic{', because there is no champion yet' if is_first else ''}"


def _describe_missing_approval(number: int | str, by: str, deadline_seconds: float) -> str:
    """Say that the rollout waits for a person, for how long, and why the answer of `by` in the pipeline is not enough."""
    answered = (
        f". {by} let the pipeline go on, but the account of this step requests the rollout, and nobody approves their own request"
    )
    return (
        f"release {number} waits for `sluice rollout approve {number}`, until {deadline_seconds:.0f} s after the request"
        f"{answered if by else ''}"
    )
