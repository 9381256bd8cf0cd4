"""Find the release that a reference names: in a cluster in the journal first, then among the project's releases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.release.project_releases import open_releases
from sluice.rollout.platforms.selection import open_journal

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.rollout.decisions.states import Journal

MIN_DIGITS = 6
"""The beginning of a digest must have this many hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class NamedRelease:
    """A release that a reference names.

    Attributes:
        digest: The release.
        number: Its number; 0 if none is known.
    """

    digest: str
    number: int


def find_release(project: Project, ref: str) -> NamedRelease:
    """Return the release that a reference names: a number, ``release-<n>``, ``champion``, ``previous``, or a digest's beginning.

    In a cluster, the journal says which release is champion, and it knows the numbers of the releases that were rolled out. So
    nothing is downloaded to show them, and a rollback needs no registry.

    Raises:
        ServiceError: The journal does not know the release, and the registry does not answer.
        StateError: No release has this name, or several have it.
    """
    if project.settings.rollout.in_cluster:
        found = match_release(open_journal(project).read(), ref)
        if found is not None and found.number:
            return found
    release = open_releases(project).get(ref)
    return NamedRelease(release.digest, release.number)


def match_release(journal: Journal, ref: str) -> NamedRelease | None:
    """Return the one release of a journal that a reference names; None if it names none or several."""
    known = {ended.release: ended.number for ended in journal.rollouts} | {one.release: one.number for one in journal.history}
    if journal.request is not None:
        known[journal.request.release] = journal.request.number
    roles = {"champion": journal.champion, "previous": journal.previous}
    number = ref.removeprefix("release-")
    digits = ref.removeprefix("sha256:")
    found = [
        digest
        for digest, known_number in known.items()
        if digest == roles.get(ref)
        or (known_number and number == str(known_number))
        or (len(digits) >= MIN_DIGITS and digest.removeprefix("sha256:").startswith(digits))
    ]
    return NamedRelease(found[0], known[found[0]]) if len(found) == 1 else None
