"""The state of the holdout, for `sluice holdout status`: its rows, its age, and rows that it shares with training data."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.data.holdout import read_whole_holdout
from sluice.data.labelled_rows import read_labelled_rows
from sluice.data.overlaps import Overlap, find_overlap
from sluice.errors import DataError
from sluice.steps.before_training.ages import HoldoutAge, judge_age
from sluice.steps.before_training.requirements import require_both_classes
from sluice.steps.champions import read_champion, read_champion_training_rows
from sluice.steps.snapshots import pin_data

if TYPE_CHECKING:
    from sluice.data.labelled_rows import LabelledRows
    from sluice.project.projects import Project

PRESENT = "the present training data"
"""The name of the rows of ``data.snapshot`` in messages."""

_SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutStatus:
    """The state of the holdout.

    Attributes:
        digest: The digest of its file.
        source: The path or URL of its file.
        since: When this project first read it, in seconds since the epoch.
        counts: The number of rows by part and label, as `Holdout.count` returns it.
        problem: Why the gate or the model tests cannot judge with it; empty if they can.
        age: The comparison with the present training data.
        overlaps: Name of other data → the rows that the holdout shares with them.
        unknown: Why an overlap could not be checked, one clause each.
    """

    digest: str
    source: str
    since: float
    counts: dict[str, dict[str, int]]
    problem: str
    age: HoldoutAge
    overlaps: dict[str, Overlap]
    unknown: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether a model may be trained and judged with this holdout."""
        return not self.problem and not any(overlap.refused for overlap in self.overlaps.values())

    @property
    def days(self) -> float:
        """The days since this project first read the holdout."""
        return (time.time() - self.since) / _SECONDS_A_DAY

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain JSON types."""
        return {
            "digest": self.digest,
            "source": self.source,
            "since": self.since,
            "days": round(self.days, 2),
            "rows": self.counts,
            "problem": self.problem,
            "age": self.age.to_dict(),
            "overlaps": {name: overlap.to_dict() for name, overlap in self.overlaps.items()},
            "unknown": list(self.unknown),
            "usable": self.usable,
        }


def read_holdout_status(project: Project) -> HoldoutStatus:
    """Read the holdout and compare it with the present training data and with the champion's.

    Raises:
        DataError: The holdout or the present training data are missing or unreadable.
        IntegrityError: The holdout is not the declared one.
    """
    holdout = read_whole_holdout(project)
    snapshot, training = read_present_training_rows(project)
    problem = ""
    try:
        require_both_classes(project, holdout)
    except DataError as error:
        problem = error.message
    champion = read_champion(project)
    others, unknown = read_champion_training_rows(project, champion, present=snapshot)
    named = {PRESENT: training} | others
    return HoldoutStatus(
        digest=holdout.digest,
        source=holdout.pinned.source,
        since=holdout.pinned.path.stat().st_mtime,
        counts=holdout.count(),
        problem=problem,
        age=judge_age(project, champion, holdout, training, snapshot_digest=snapshot),
        overlaps={name: find_overlap(holdout.rows, rows, name) for name, rows in named.items()},
        unknown=unknown,
    )


def read_present_training_rows(project: Project) -> tuple[str, LabelledRows]:
    """Return the digest and the rows of data.snapshot."""
    pinned = pin_data(project)
    return pinned.digest, read_labelled_rows(project, pinned.path, source=pinned.source)


def read_rows_of_models(project: Project, *, consequence: str) -> dict[str, LabelledRows]:
    """Return the rows that a model is or was trained on, under their names: the present training data, and the champion's.

    Args:
        project: The project.
        consequence: What follows if the champion's training data are not known, for the message.

    Raises:
        DataError: The present training data are unreadable, or the champion's are not known.
    """
    snapshot, training = read_present_training_rows(project)
    known, unknown = read_champion_training_rows(project, read_champion(project), present=snapshot)
    if unknown:
        raise DataError(
            f"{unknown[0]}, so {consequence}",
            hint="Copy the file there under its digest and its suffix. The manifest of the release has the whole digest.",
        )
    return {PRESENT: training} | known
