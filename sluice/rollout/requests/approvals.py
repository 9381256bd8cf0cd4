"""Approving a release for production traffic."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING

from sluice.errors import StateError
from sluice.rollout.decisions.states import Approval, Journal
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests.admission import check_gate, check_not_condemned
from sluice.rollout.requests.published_releases import find_image
from sluice.rollout.requests.step_shares import find_steps

if TYPE_CHECKING:
    from sluice.project.projects import Project


def approve(project: Project, digest: str, by: str, note: str = "") -> Approval:
    """Approve one release for ``rollout.approval_seconds``, over the steps of its running rollout or else of sluice.toml.

    An approval may come before the request. It is valid for one rollout, and used up when that rollout ends. If the running
    rollout of this release has a valid approval, the call changes nothing and returns that one.

    Args:
        project: The project.
        digest: The release.
        by: The person who approves.
        note: Why, in the person's own words.

    Raises:
        RefusedError: The gate did not promote the release, or was never asked, or the release is condemned.
        StateError: `by` is empty, or the release is the champion.
    """
    approval = plan_approval(project, digest, by, note, push=True)
    if (running := find_running_approval(project, digest)) is not None:
        return running

    def add_approval(journal: Journal) -> Journal:
        valid = [other for other in journal.approvals if other.until > approval.at]
        return dataclasses.replace(journal, approvals=(*valid, approval))

    open_journal(project).update(add_approval)
    return approval


def plan_approval(project: Project, digest: str, by: str, note: str = "", *, push: bool = False) -> Approval:
    """Return the approval that `approve` would record now.

    Args:
        project: The project.
        digest: The release.
        by: The person who approves.
        note: Why, in the person's own words.
        push: Whether a release that has no running rollout may be pushed to its registry, so that the approval can name its
            image.

    Raises:
        RefusedError: The gate did not promote the release, or was never asked, or the release is condemned.
        StateError: `by` is empty, or the release is the champion.
    """
    if not by.strip():
        raise StateError("an approval needs the name of the person who approves", hint="Name that person with --by.")
    journal_store = open_journal(project)
    journal = journal_store.read()
    if digest == journal.champion and digest != journal.target:
        raise StateError(
            f"release {digest[:19]} is already the champion, so there is nothing to approve",
            hint="`sluice release list` shows all releases. Approve the release that should replace the champion.",
        )
    check_gate(project, digest)
    check_not_condemned(project, journal, digest)
    now = journal_store.clock.now()
    return Approval(
        release=digest,
        steps=find_steps(project, journal, digest),
        by=by,
        at=now,
        until=now + project.settings.rollout.approval_seconds,
        note=note,
        image=find_image(project, journal, digest) if push or journal.target == digest else "",
        id=uuid.uuid4().hex if project.settings.rollout.in_cluster else "",
    )


def find_running_approval(project: Project, digest: str) -> Approval | None:
    """Return the approval that is valid now for the running rollout of a release; None if there is none, or no such rollout."""
    journal_store = open_journal(project)
    journal = journal_store.read()
    return find_valid_approval(project, journal, digest, journal_store.clock.now()) if journal.target == digest else None


def find_approval(project: Project, digest: str) -> Approval | None:
    """Return the approval that is valid now for a release, or None."""
    journal_store = open_journal(project)
    return find_valid_approval(project, journal_store.read(), digest, journal_store.clock.now())


def find_valid_approval(project: Project, journal: Journal, digest: str, now: float) -> Approval | None:
    """Return the approval of a journal that counts at a time for a release, over its steps and for its image."""
    image = find_image(project, journal, digest)
    return journal.find_approval(digest, find_steps(project, journal, digest), now, image=image)
