"""Starting a rollout: writing the request into the journal."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING

from sluice.rollout.decisions.states import Journal, Request
from sluice.rollout.decisions.transitions import begin
from sluice.rollout.failures import MAX_TEXT_LENGTH, shorten
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests.admission import (
    check_free,
    check_gate,
    check_not_condemned,
    check_supervised,
    read_ledger_head,
)
from sluice.rollout.requests.condemnations import find_condemnation
from sluice.rollout.requests.published_releases import publish_release
from sluice.rollout.requests.step_shares import find_steps

if TYPE_CHECKING:
    from sluice.project.projects import Project


def check_request(project: Project, digest: str, *, again: str = "") -> None:
    """Check whether `request_rollout` would accept this release now.

    Raises:
        RefusedError: The gate did not promote the release, or was never asked, or the release is condemned.
        StateError: Another rollout is running.
        NotServingError: No supervisor or controller is running.
    """
    journal_store = open_journal(project)
    check_supervised(journal_store)
    check_gate(project, digest)
    journal = journal_store.read()
    check_free(journal, digest)
    check_not_condemned(project, journal, digest, again)


def request_rollout(project: Project, digest: str, by: str, *, again: str = "") -> None:
    """Request that a release becomes champion.

    If a rollout of this release is running, or it is champion already, the call changes nothing.

    Args:
        project: The project.
        digest: The release.
        by: The requester.
        again: Why a condemned release is rolled out again. It is stored with the request.

    Raises:
        RefusedError: The gate did not promote the release, or was never asked, or the release is condemned and nobody says why it
            is rolled out again.
        StateError: Another rollout is running.
        NotServingError: No supervisor or controller is running.
    """
    journal_store = open_journal(project)
    check_supervised(journal_store)
    check_gate(project, digest)
    steps = find_steps(project, journal_store.read(), digest)
    number, image = publish_release(project, digest)
    request = Request(
        id=uuid.uuid4().hex,
        release=digest,
        by=journal_store.identify(by),
        at=journal_store.clock.now(),
        steps=steps,
        number=number,
        image=image,
        ledger_head=read_ledger_head(project, digest),
    )

    def add_request(journal: Journal) -> Journal:
        check_free(journal, digest)
        if digest in {journal.target, journal.champion}:
            return journal
        check_not_condemned(project, journal, digest, again)
        why = shorten(again, MAX_TEXT_LENGTH) if again and find_condemnation(project, journal, digest) else ""
        return begin(journal, dataclasses.replace(request, again=why))

    journal_store.update(add_request)
