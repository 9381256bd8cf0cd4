"""The steps of a rollout: those that are given as numbers of requests get a share from the measured traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.errors import StateError
from sluice.rollout.decisions.expected_times import (
    UNSURE_SHARE,
    Measurement,
    choose_share,
    describe_expected,
    expect_steps,
    read_measurement,
)
from sluice.rollout.decisions.states import ALL_TRAFFIC
from sluice.rollout.platforms.selection import open_journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.project.projects import Project
    from sluice.project.tables.rollout import RolloutTable
    from sluice.rollout.decisions.states import Journal
    from sluice.rollout.journals import JournalStore

LARGEST_COUNTED_SHARE = 50
"""Largest share, in per cent, that a number of requests may stand for."""


def find_steps(project: Project, journal: Journal, digest: str) -> tuple[int, ...]:
    """Return the steps of a release, as shares in per cent.

    They are those of its running rollout. Otherwise they are those of sluice.toml. A number of requests in them gets the share of
    a valid approval of this release, and if there is none, the share that the measured traffic asks for.

    Raises:
        StateError: A step is a number of requests, and no traffic was measured yet.
    """
    if journal.request is not None and journal.request.release == digest:
        return journal.request.steps
    settings = project.settings.rollout
    if settings.shares is not None:
        return settings.shares
    now = open_journal(project).clock.now()
    approved = (one.steps for one in reversed(journal.approvals) if one.release == digest and one.until > now)
    fitting = next((steps for steps in approved if _fit(steps, settings)), None)
    if fitting is not None:
        return fitting
    return choose_shares(settings, read_traffic(open_journal(project)), first_release=journal.champion is None)


def choose_shares(settings: RolloutTable, measured: Measurement, *, first_release: bool = False) -> tuple[int, ...]:
    """Return the steps of the settings as shares in per cent.

    A share is chosen from the highest rate of about the last day, because the traffic of the day may return after a quiet night.
    From a short or an old measurement, it is `UNSURE_SHARE` at most.

    Args:
        settings: ``[rollout]``.
        measured: The measured traffic.
        first_release: Whether there is no champion, so that the release takes all traffic at once.

    Raises:
        StateError: A step is a number of requests, and no traffic was measured, or the share leaves no room for the next step.
    """
    if first_release:
        return (ALL_TRAFFIC,)
    shares: list[int] = []
    for index, step in enumerate(settings.steps):
        if isinstance(step, int):
            shares.append(step)
            continue
        if (rate := measured.highest) is None:
            raise StateError(
                f'the share of the step "{step}" cannot be chosen, because no traffic was measured yet',
                hint="Wait until the champion has answered requests, or give the steps of `rollout.steps` in per cent.",
            )
        least = shares[-1] + 1 if shares else 1
        later = [part for part in settings.steps[index + 1 :] if isinstance(part, int)]
        largest = min(LARGEST_COUNTED_SHARE, later[0] - 1)
        if least > largest:
            raise StateError(
                f'there is no share for the step "{step}" between the steps before and after it',
                hint="Leave the step out of `rollout.steps`, or give it in per cent.",
            )
        safe = largest if measured.is_sure else min(largest, UNSURE_SHARE)
        chosen = choose_share(int(step.split()[0]), rate, settings.step_seconds, safe)
        shares.append(max(least, chosen))
    return tuple(shares)


def read_traffic(journal_store: JournalStore) -> Measurement:
    """Return the measured traffic of all releases."""
    return read_measurement(journal_store.read_status().get("evidence") or {})


def describe_steps(project: Project, steps: Sequence[int]) -> list[str]:
    """Return how long each step is expected to take with the measured traffic, as lines for a person."""
    settings = project.settings.rollout
    measured = read_traffic(open_journal(project))
    return describe_expected(expect_steps(steps, measured.rate, settings), measured, settings.deadline_seconds)


def _fit(steps: Sequence[int], settings: RolloutTable) -> bool:
    """Whether approved shares fit the steps of the settings: as many of them, and those in per cent are the same."""
    return len(steps) == len(settings.steps) and all(
        not isinstance(wanted, int) or share == wanted for share, wanted in zip(steps, settings.steps, strict=True)
    )
