"""The step that measures drift: how far the data has moved since training. `sluice drift` does the same outside a run.

The reference is the champion's training data. Features need no labels. Scores and the AUC are compared with those of the
holdout's test rows, because a model's scores of its own training rows are too sure.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.data.holdout import SNAPSHOT_FOLDER, read_holdout, read_whole_holdout
from sluice.data.labelled_rows import read_labelled_rows
from sluice.data.locations import resolve_snapshot
from sluice.data.overlaps import find_shared_ids
from sluice.data.snapshots import Snapshot, check_readable, digest_data, is_url, pin_for_reading
from sluice.drift.auc_changes import AucChange, compare_aucs, estimate_before
from sluice.drift.comparisons import DriftOutcome, DriftResult, compare_profile, read_drift_rule
from sluice.drift.model_inputs import sample_inputs
from sluice.drift.profiles import count_rows
from sluice.drift.project_rows import freeze_file, list_left_out, read_rows
from sluice.drift.references import DriftReference, narrow_reference
from sluice.errors import DataError, StateError
from sluice.project.projects import Project, read_project
from sluice.statistics.psi import PsiEstimate, build_numeric_reference, estimate_psi
from sluice.steps.champions import find_reference, read_features, read_training_rows, require_champion, score_release
from sluice.steps.curves import read_estimate_at_gate
from sluice.steps.records import record_part, running_step
from sluice.steps.snapshots import REFERENCE_FORM, restore_snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.data.labelled_rows import LabelledRows
    from sluice.drift.batches import Rows
    from sluice.steps.layers import ArtifactInput

_COMPARE_YOURSELF = "Compare the present AUC with the one in the report of the run that promoted the champion."
SCORE = "the champion's score"
"""Name of the score among the compared features."""


def measure_drift(reference: ArtifactInput, current: ArtifactInput, target: str) -> DriftResult:
    """Compare two pinned snapshots, and write the result. A snapshot that is compared with itself gives no result.

    Args:
        reference: The snapshot that the champion was trained on, or the reference that its release carries.
        current: The present snapshot.
        target: Path to write the result to (JSON).

    Raises:
        DataError: The snapshots cannot be read or compared.
        IntegrityError: A snapshot does not have the digest that was recorded when it was pinned.
    """
    project = read_project()
    with running_step("drift") as step:
        before, now = (restore_snapshot(project, Path(path), metadata) for path, metadata in (reference, current))
        digest = str(current[1]["digest"])
        if digest in {reference[1]["digest"], reference[1].get("snapshot_digest")}:
            result = _refuse_to_decide(project, f"the present snapshot is the reference itself ({digest[:19]})")
        else:
            result = _compare(project, _read_pinned(project, before, reference[1]), read_rows(project, now, ""))
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_text(json.dumps(result.to_dict()), encoding="utf-8")
        record_part("drift", result.to_dict())
        step.detail = result.detail
    return result


def _read_pinned(project: Project, pinned: Path, metadata: Mapping[str, Any]) -> DriftReference:
    """Return the reference that the step `pin_reference` pinned: a carried one, or one that is frozen now from training data."""
    if metadata.get("form") == REFERENCE_FORM:
        return _narrow(project, DriftReference.from_dict(json.loads(pinned.read_text(encoding="utf-8"))))
    return freeze_file(project, pinned, "", metadata.get("features", []))


def compare_sources(project: Project, reference: str = "", current: str = "", *, scores: bool = False) -> DriftResult:
    """Compare data with the champion's training data, or with another reference.

    Args:
        project: The project.
        reference: Path or URL of the reference; empty for the champion's training data. If they are not on this machine, it is
            the reference that the champion's release carries.
        current: Path or URL of the present data; empty for what sluice.toml names.
        scores: Whether to compare the champion's scores too.

    Raises:
        DataError: The data cannot be read or compared.
        StateError: There is no champion, or both names mean the same bytes.
    """
    found = _open(project, reference) if reference else find_reference(project)
    now = _open(project, resolve_snapshot(project, current).name)
    if _has_same_bytes(project, found, now.path):
        named = found.source if isinstance(found, Snapshot) else "the champion's training data"
        raise StateError(
            f"{now.source} is the same file as the reference ({named}), so a comparison would say nothing",
            hint="Name newer data with --current. Without --reference, it is compared with the champion's training data.",
        )
    if isinstance(found, Snapshot):
        features = [] if reference else [column.name for column in read_features(project)]
        found = freeze_file(project, found.path, found.source, features)
    else:
        found = _narrow(project, found)
    return _compare(project, found, read_rows(project, now.path, now.source), scores=scores)


def compare_labels(project: Project, location: str) -> AucChange:
    """Compare the champion's AUC on recent labelled rows with its AUC on the holdout's test rows at the gate.

    If the holdout was replaced since, the AUC of that time is used, because the AUC on the present one may have fallen already.

    Args:
        project: The project.
        location: Path or URL of the recent rows. ``data.load`` reads them.

    Raises:
        DataError: The rows cannot be read, or the champion's predictions cannot be judged.
        IntegrityError: The holdout or the release was changed.
        ServiceError: The champion's code cannot score the rows.
        StateError: There is no champion, or it was trained or tested on all of the rows.
    """
    champion = require_champion(project)
    file, holdout = _open(project, location), read_whole_holdout(project)
    training = read_training_rows(project, champion)
    others = {"the champion's training data": training, "the holdout": holdout.rows}
    recent, left_out = _leave_out_known(read_labelled_rows(project, file.path, source=file.source), others, file.source)
    test = holdout.test
    replaced = champion.manifest["data"]["holdout_digest"] != holdout.digest
    before = read_estimate_at_gate(project, champion) if replaced else None
    if before is None:
        now, then = score_release(project, champion, recent.features, test.features)
        before, replaced_unseen = estimate_before(test.labels, then), replaced
    else:
        (now,), replaced_unseen = score_release(project, champion, recent.features), False
    settings = project.settings.drift
    change = compare_aucs(before, (recent.labels, now), tolerated=settings.auc_drop, alpha=settings.alpha)
    if replaced_unseen:
        change = _doubt(change, "the AUC at the gate is not stored, and the present holdout is another one", _COMPARE_YOURSELF)
    return _qualify(change, left_out, has_training=training is not None)


def _leave_out_known(
    rows: LabelledRows, others: Mapping[str, LabelledRows | None], source: str
) -> tuple[LabelledRows, dict[str, int]]:
    """Return the rows whose ids other data do not have, and the number of rows that each of the other data has.

    A champion is too sure of its training rows. Gate rows must not be scored here, because the gate alone may do so.

    Raises:
        StateError: No row is left.
    """
    known, counts = np.zeros(len(rows), dtype=np.bool_), {}
    for name, other in others.items():
        if other is not None:
            shared = find_shared_ids(rows.ids, other.ids)
            counts[name], known = int(shared.sum()), known | shared
    if known.all():
        found = " and ".join(f"{count:,} are in {name}" for name, count in counts.items() if count)
        raise StateError(
            f"{source} has {len(rows):,} rows, and {found}, so its AUC says nothing about recent rows",
            hint="Name a file with rows whose labels have arrived since.",
        )
    return rows.take(~known), {name: count for name, count in counts.items() if count}


def _qualify(change: AucChange, left_out: dict[str, int], *, has_training: bool) -> AucChange:
    """Return the change with the rows that were left out. If the training rows are not known, it is not steady.

    Training rows that nobody could leave out would make the present AUC too high, and so hide a fall.
    """
    found = " and ".join(f"{count:,} rows that are in {name}" for name, count in left_out.items())
    detail = f"{change.detail}; left out: {found}" if found else change.detail
    change = dataclasses.replace(change, left_out=left_out, detail=detail)
    lost = "nobody has the champion's training data, so its rows could not be left out"
    hint = "Restore a copy of the training data in .sluice/snapshots, or name it in data.snapshot."
    return change if has_training else _doubt(change, lost, hint)


def _doubt(change: AucChange, reason: str, hint: str) -> AucChange:
    """Return the change, which is not steady for a reason that could hide a fall."""
    if change.outcome is not DriftOutcome.STEADY:
        return change
    return dataclasses.replace(change, outcome=DriftOutcome.INCONCLUSIVE, detail=f"{change.detail}; {reason}", hint=hint)


def _compare(project: Project, reference: DriftReference, now: Rows, *, scores: bool = False) -> DriftResult:
    """Compare rows with a reference."""
    extra = {SCORE: _compare_scores(project, reference, now)} if scores else {}
    return compare_profile(reference, count_rows(reference, now), read_drift_rule(project.settings.drift), extra=extra)


def _narrow(project: Project, reference: DriftReference) -> DriftReference:
    """Return a saved reference with the columns that the present settings choose."""
    return narrow_reference(reference, columns=project.settings.drift.columns, left_out=list_left_out(project))


def _compare_scores(project: Project, reference: DriftReference, rows: Rows) -> PsiEstimate:
    """Compare the champion's scores with those of the holdout's test rows, which the reference may have from the training."""
    champion = require_champion(project)
    inputs = sample_inputs(rows, read_features(project))
    if reference.scores is not None:
        (now,) = score_release(project, champion, inputs)
        return estimate_psi(reference.scores, now)
    now, before = score_release(project, champion, inputs, read_holdout(project, part="test").features)
    return estimate_psi(build_numeric_reference(before), now)


def _refuse_to_decide(project: Project, reason: str) -> DriftResult:
    return DriftResult(
        features={},
        not_compared={},
        left_out={},
        hints={},
        reference_rows=0,
        rows=0,
        least_rows=project.settings.drift.least_rows,
        undecided=f"{reason}, so nothing was compared",
    )


def _open(project: Project, name: str) -> Snapshot:
    """Return a data set that a person named. A local file is read where it is, because a copy of a large file takes long."""
    location = project.locate(name)
    if is_url(location):
        snapshot = pin_for_reading(location, project.state / SNAPSHOT_FOLDER)
    elif not Path(location).exists():
        raise DataError(f"there is no file {location}", hint="Check the path in sluice.toml or on the command line.")
    else:
        snapshot = Snapshot(Path(location), "", name)
    check_readable(snapshot)
    return snapshot


def _has_same_bytes(project: Project, reference: Snapshot | DriftReference, now: Path) -> bool:
    """Return whether the present data are the reference itself. Files are hashed only if their sizes are equal."""
    if isinstance(reference, Snapshot):
        first = reference.path
        sizes = {path.stat().st_size for path in (first, now) if path.is_file()}
        return len(sizes) <= 1 and digest_data(first) == digest_data(now)
    return digest_data(now) == str(require_champion(project).manifest["data"]["snapshot_digest"])
