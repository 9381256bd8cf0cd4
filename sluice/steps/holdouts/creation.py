"""Make a new holdout from fresh labelled data.

A hash of the id chooses the rows, separately for each label, so that the new holdout has the label's share of the fresh data.
The hash is another one than that of the split into test rows and gate rows. Rows that a model was or is trained on, and rows of
the present holdout, are left out, by id and by content.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.data.holdout import read_whole_holdout, split_rows
from sluice.data.labelled_rows import read_labelled_rows
from sluice.data.overlaps import find_overlap
from sluice.data.row_files import check_same_rows, write_rows
from sluice.data.row_sets import hash_id
from sluice.data.snapshots import digest_file, is_url
from sluice.errors import DataError
from sluice.steps.before_training.requirements import require_both_classes
from sluice.steps.holdouts.statuses import read_rows_of_models
from sluice.steps.snapshots import pin_data

if TYPE_CHECKING:
    import numpy.typing as npt

    from sluice.data.labelled_rows import LabelledRows
    from sluice.data.snapshots import Snapshot
    from sluice.project.projects import Project

_HASH_PREFIX = b"sluice-holdout-choice\0"
"""It makes the hash of the choice independent of the hash that splits a holdout into its two parts."""

_DIGEST_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HoldoutPlan:
    """What a new holdout will consist of.

    Attributes:
        fresh: The fresh data, pinned.
        rows: Their rows.
        chosen: Which rows the holdout will have, shape (rows,).
        rest: Which other rows may be used for training, shape (rows,).
        left_out: Name of other data → number of fresh rows that are left out because these data contain them.
        counts: The number of chosen rows by part and label.
    """

    fresh: Snapshot
    rows: LabelledRows
    chosen: npt.NDArray[np.bool_]
    rest: npt.NDArray[np.bool_]
    left_out: dict[str, int]
    counts: dict[str, dict[str, int]]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON types."""
        return {
            "fresh_rows": len(self.rows),
            "rows": int(self.chosen.sum()),
            "rest": int(self.rest.sum()),
            "left_out": self.left_out,
            "parts": self.counts,
        }


@dataclass(frozen=True, slots=True)
class NewHoldout:
    """A holdout file.

    Attributes:
        file: Its path.
        digest: The digest of its bytes.
        created: Whether this call wrote it. False if the same file existed already.
    """

    file: Path
    digest: str
    created: bool


def plan_new_holdout(project: Project, location: str, *, rows: int = 0) -> HoldoutPlan:
    """Choose the rows of a new holdout.

    Args:
        project: The project.
        location: The fresh labelled data: a path relative to the project, or a URL.
        rows: The number of rows. 0 for as many as the present holdout has, but at most half of the rows that may be used, so that
            fresh rows are left for training.

    Raises:
        DataError: The fresh data are unreadable, or have too few rows that may be used.
        IntegrityError: The present holdout is not the declared one.
    """
    fresh = pin_data(project, location)
    all_rows = read_labelled_rows(project, fresh.path, source=fresh.source)
    others, present_rows = _read_others(project)
    found = {name: find_overlap(all_rows, other) for name, other in others.items()}
    overlaps = {name: one.rows | one.by_content if one.has_repeated_rows else one.rows for name, one in found.items()}
    usable = ~np.logical_or.reduce(list(overlaps.values()))
    wanted = rows or min(present_rows, int(usable.sum()) // 2)
    left_out = {name: int(rows_of.sum()) for name, rows_of in overlaps.items()}
    if wanted > int(usable.sum()) or wanted == 0:
        reasons = ", ".join(f"{number:,} are in {name}" for name, number in left_out.items() if number)
        raise DataError(
            f"{fresh.source} has {int(usable.sum()):,} rows that a new holdout may contain, but {max(wanted, 1):,} are needed"
            f"{f'; of its {len(all_rows):,} rows, {reasons}' if reasons else ''}",
            hint="Collect more labelled rows that no model was trained on, or ask for fewer with --rows.",
        )
    chosen = choose_rows(all_rows, usable, wanted)
    named = dataclasses.replace(fresh, source=f"made from {fresh.source}")
    parts = split_rows(project, named, all_rows.take(chosen))
    require_both_classes(project, parts)
    return HoldoutPlan(fresh=fresh, rows=all_rows, chosen=chosen, rest=usable & ~chosen, left_out=left_out, counts=parts.count())


def _read_others(project: Project) -> tuple[dict[str, LabelledRows], int]:
    """Return the data whose rows must not be in a new holdout, by name, and the number of rows of the present holdout.

    Raises:
        DataError: Among others, the champion's training data are not known. Then nothing shows that the new rows are not in them.
    """
    others = read_rows_of_models(project, consequence="rows of it cannot be left out")
    present = read_whole_holdout(project).rows
    return others | {"the present holdout": present}, len(present)


def choose_rows(rows: LabelledRows, usable: npt.NDArray[np.bool_], number: int) -> npt.NDArray[np.bool_]:
    """Choose rows by a hash of the id, so that each label has its share of the usable rows.

    Args:
        rows: All rows.
        usable: Which of them may be chosen, shape (rows,).
        number: How many to choose, at most as many as are usable.

    Returns:
        Which are chosen, shape (rows,). The same rows give the same choice in any order.
    """
    chosen = np.zeros(len(rows), dtype=bool)
    positive = usable & (rows.labels == 1)
    of_positives = round(number * int(positive.sum()) / int(usable.sum()))
    for candidates, wanted in ((positive, of_positives), (usable & (rows.labels == 0), number - of_positives)):
        places = np.flatnonzero(candidates)
        ranked = sorted(places, key=lambda place: hash_id(rows.ids[place], prefix=_HASH_PREFIX))
        chosen[ranked[:wanted]] = True
    return chosen


def create_holdout(project: Project, plan: HoldoutPlan, *, folder: str = "") -> NewHoldout:
    """Write the chosen rows to a file that is named by its digest. If the same file exists, nothing changes.

    Args:
        project: The project.
        plan: The chosen rows.
        folder: Where to write; empty for the folder of the present holdout, or ``data`` if that is at a URL.

    Raises:
        DataError: The format of the fresh data cannot be written, or the written file does not contain the chosen rows.
    """
    present = project.settings.data.holdout
    target = project.path(folder or ("data" if is_url(present) else str(Path(present).parent)))
    suffix = plan.fresh.path.suffix
    target.mkdir(parents=True, exist_ok=True)
    draft = target / f".holdout.draft{suffix}"
    try:
        _write_part(project, plan, plan.chosen, draft)
        digest = digest_file(draft)
        file = target / f"holdout-{digest.removeprefix('sha256:')[:_DIGEST_DIGITS]}{suffix}"
        created = not file.exists() or digest_file(file) != digest
        if created:
            draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return NewHoldout(file, digest, created)


def write_rest(project: Project, plan: HoldoutPlan, file: Path, *, dry_run: bool = False) -> None:
    """Write the rows that are not chosen and that may be used for training. If the file has these rows already, nothing changes.

    Args:
        project: The project.
        plan: The chosen rows.
        file: The file to write.
        dry_run: Whether to make all checks and to write nothing.

    Raises:
        DataError: The file exists and contains something else, its format cannot be written, or its suffix is another one than
            that of the fresh data.
    """
    if file.suffix != plan.fresh.path.suffix:
        raise DataError(
            f"{file} must have the suffix {plan.fresh.path.suffix}, because the fresh data have it",
            hint="Give the file the same suffix. Sluice does not convert data.",
        )
    with tempfile.TemporaryDirectory(prefix="sluice-rest-") as folder:
        draft = Path(folder) / f"rest{file.suffix}"
        _write_part(project, plan, plan.rest, draft)
        if file.exists():
            if digest_file(file) != digest_file(draft):
                raise DataError(f"{file} exists already, and it is not overwritten", hint="Name another file with --rest.")
        elif not dry_run:
            beside = file.with_name(f".{file.stem}.draft{file.suffix}")
            try:
                shutil.copyfile(draft, beside)
                beside.replace(file)
            finally:
                beside.unlink(missing_ok=True)


def _write_part(project: Project, plan: HoldoutPlan, picked: npt.NDArray[np.bool_], file: Path) -> None:
    part = plan.rows.take(picked)
    write_rows(plan.fresh.path, file, key=project.settings.data.id, ids=part.ids, source=plan.fresh.source)
    check_same_rows(part, read_labelled_rows(project, file, source="the new file"))
