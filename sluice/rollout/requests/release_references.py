"""Which release a person means: by the project's store, and in a cluster by the journal, since the store is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.errors import StateError
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.platforms.selection import open_journal

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.rollout.decisions.states import Journal

LEAST_DIGITS = 6
"""Hexadecimal digits that a beginning of a digest must have."""


@dataclass(frozen=True, slots=True)
class NamedRelease:
    """A release as people speak of it: its digest, and its number where one is known."""

    digest: str
    number: int


def find_release(project: Project, ref: str) -> NamedRelease:
    """The release that a reference names: a number, ``release-<n>``, ``champion``, ``previous``, a digest or its beginning.

    Raises:
        StateError: There is none, or several begin so.
    """
    try:
        release = ReleaseStore(project.state / "releases").get(ref)
    except StateError:
        if not project.settings.rollout.in_cluster:
            raise
        if (found := match_release(open_journal(project).read(), ref)) is None:
            raise
        return found
    return NamedRelease(release.digest, release.number)


def match_release(journal: Journal, ref: str) -> NamedRelease | None:
    """The one release of a journal that a reference names; None where none does, or several do."""
    known = {ended.release: ended.number for ended in journal.rollouts} | {one.release: one.number for one in journal.history}
    if journal.request is not None:
        known[journal.request.release] = journal.request.number
    named = {"champion": journal.champion, "previous": journal.previous}
    number = ref.removeprefix("release-")
    digits = ref.removeprefix("sha256:")
    found = [
        digest
        for digest, own in known.items()
        if digest == named.get(ref)
        or (own and number == str(own))
        or (len(digits) >= LEAST_DIGITS and digest.removeprefix("sha256:").startswith(digits))
    ]
    return NamedRelease(found[0], known[found[0]]) if len(found) == 1 else None
