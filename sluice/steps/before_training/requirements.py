"""What must hold before a model is trained. Each mistake that would be found after the training is found here.

`check_project` needs no training data, so the preflight and the first step of a pipeline call it. The training step calls
`check_model` and `check_rows`.
"""

from __future__ import annotations

import io
import math
import pickle
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.holdout import read_whole_holdout
from sluice.data.overlaps import find_overlap
from sluice.errors import ConfigurationError, DataError, RefusedError, SluiceError
from sluice.gate.decision import MIN_PER_CLASS
from sluice.release.feature_columns import read_columns
from sluice.release.packaging import check_sources
from sluice.run_warnings import RunWarning
from sluice.steps.before_training.environments import check_serving_image, check_serving_lock
from sluice.steps.before_training.keys import check_signing_secrets
from sluice.steps.before_training.places import check_places
from sluice.steps.champions import read_champion_training_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sluice.data.holdout import Holdout
    from sluice.data.labelled_rows import LabelledRows
    from sluice.data.overlaps import Overlap
    from sluice.project.projects import Project
    from sluice.release.store.releases import Release

OVERLAP_HINT = (
    "Remove these rows from the training data. If they were added to it on purpose, the holdout is used up: make a new one "
    "from fresh "
    "labelled data with `sluice holdout new`."
)

CHAMPION_HINT = (
    "The champion knows these rows, so the gate could not compare it with a challenger. Use the earlier holdout again, or make a "
    "new one from fresh labelled data with `sluice holdout new`, and switch to it with `sluice holdout rotate`."
)

UNRELATED_HINT = (
    "No two rows with equal ids have equal features and labels. If the ids only number the rows of each file, set data.id "
    "to a column "
    "that is unique over all files."
)


def check_project(project: Project) -> str:
    """Check what a pipeline needs after the training: the holdout, the packages and the lock of a release, and the serving image.

    Returns:
        What `check_serving_image` says; empty if there is nothing to say.

    Raises:
        ConfigurationError: project.packages or serving.lock names something that does not exist, or what later steps need would
            be lost with the state folder, or a step of a pod that must sign has no key.
        DataError: The holdout is missing or unreadable, or has too few rows of a class.
        IntegrityError: The holdout is not the declared one.
        RefusedError: The serving lock or the serving image does not fit what this environment trains.
    """
    check_sources(project)
    check_places(project)
    check_signing_secrets(project)
    check_serving_lock(project)
    note = check_serving_image(project)
    try:
        holdout = read_whole_holdout(project)
    except DataError as error:
        raise DataError(f"the holdout cannot be used: {error.message}", hint=error.hint) from error
    require_both_classes(project, holdout)
    return note


def check_rows(
    project: Project, training: LabelledRows, champion: Release | None, *, snapshot_digest: str
) -> tuple[Holdout, list[RunWarning]]:
    """Check that the holdout has no row of the training data or of the champion's, and return the holdout.

    The champion's rows are read too, because a holdout that was edited into sluice.toml never passed the checks of a rotation.

    Args:
        project: The project.
        training: The rows of the training data.
        champion: The champion; None if there is none.
        snapshot_digest: The digest of the training data.

    Returns:
        The holdout, and the warnings about equal contents, and about a champion's training data that are not known.

    Raises:
        DataError: The holdout is unreadable or has too few rows of a class, or a feature cannot be part of a release.
        IntegrityError: The holdout is not the declared one.
        RefusedError: Rows of the holdout are in the training data, or in the champion's.
    """
    read_columns(training.features)
    holdout = read_whole_holdout(project)
    require_both_classes(project, holdout)
    warning = judge_overlap(project, find_overlap(holdout.rows, training, "the training data"))
    others = check_champion(project, champion, holdout, snapshot_digest=snapshot_digest)
    return holdout, ([warning] if warning else []) + others


def check_champion(project: Project, champion: Release | None, holdout: Holdout, *, snapshot_digest: str) -> list[RunWarning]:
    """Check that the champion was not trained on rows of the holdout.

    Args:
        project: The project.
        champion: The champion; None if there is none.
        holdout: The holdout.
        snapshot_digest: The digest of the present training data. If the champion has the same, they were compared already.

    Returns:
        Warnings, if the champion was released with another holdout. With the same one, its own training gave them.

    Raises:
        RefusedError: Rows of the holdout are in the champion's training data.
    """
    if champion is None:
        return []
    try:
        others, unknown = read_champion_training_rows(project, champion, present=snapshot_digest)
    except SluiceError as error:
        others, unknown = {}, (f"the training data of the champion cannot be read: {error.message}",)
    found = [judge_overlap(project, find_overlap(holdout.rows, rows, name), hint=CHAMPION_HINT) for name, rows in others.items()]
    if champion.manifest["data"].get("holdout_digest") == holdout.digest:
        return []
    return [warning for warning in found if warning] + [
        RunWarning(
            kind="unknown-training-data",
            text=f"{reason}, so nothing shows that the champion does not know rows of this holdout",
            hint="`sluice holdout status` shows which file is missing. Copy it there, or compare the two files yourself.",
        )
        for reason in unknown
    ]


def require_both_classes(project: Project, holdout: Holdout) -> None:
    """Check that the gate and the model tests can judge with this holdout.

    Raises:
        DataError: A class has no test row, or fewer gate rows than the gate needs.
    """
    counts, label = holdout.count(), project.settings.data.label
    for part, least in (("test", 1), ("gate", MIN_PER_CLASS)):
        for name, value in (("negative", 0), ("positive", 1)):
            found = counts[part][name]
            if found < least:
                raise DataError(
                    f"the holdout {holdout.pinned.source} has {found} {part} row{'' if found == 1 else 's'} with "
                    f"{label} = {value}, but at least {least} {'is' if least == 1 else 'are'} needed; of its "
                    f"{len(holdout.rows):,} rows, {int((holdout.rows.labels == value).sum()):,} have this label",
                    hint=_suggest_rows(holdout.rows, value, least, fraction=project.settings.data.gate_fraction),
                )


def _suggest_rows(rows: LabelledRows, value: int, least: int, *, fraction: float) -> str:
    share = float((rows.labels == value).mean())
    if not share:
        return "Make a holdout that contains both labels, as they occur in production."
    # Twice the expected number, so that the split by a hash of the id leaves enough rows in each part.
    wanted = math.ceil(2 * least / share / min(fraction, 1 - fraction) / 100) * 100
    return f"Use a larger holdout. With this share of the label, about {wanted:,} rows are enough."


def judge_overlap(project: Project, overlap: Overlap, *, hint: str = OVERLAP_HINT) -> RunWarning | None:
    """Refuse rows of the holdout in data that a model is or was trained on.

    Args:
        project: The project.
        overlap: The rows in common.
        hint: What to do about them.

    Returns:
        A warning if sluice.toml allows equal contents and there are some that coincidence does not explain, or if rows repeat
        that should not; otherwise None.

    Raises:
        RefusedError: There are some. The message has their number and three ids.
    """
    if overlap.has_repeated_rows:
        return RunWarning(
            kind="repeated-rows",
            text=overlap.describe_repeated_rows(),
            hint=(
                "Check whether these rows were copied from the holdout, or recorded twice. Remove them from the training data, "
                "and remove duplicates before rows are split into training data and holdout."
            ),
        )
    if not overlap.refused:
        return None
    hint = f"{UNRELATED_HINT} {hint}" if overlap.has_unrelated_ids else hint
    if overlap.by_id.any() or project.settings.data.equal_contents == "refuse":
        raise RefusedError(overlap.describe(), hint=hint)
    return RunWarning(kind="equal-contents", text=overlap.describe(), hint=hint)


def check_model(project: Project, model: Any) -> None:  # noqa: ANN401 - scikit-learn has no typed interface
    """Check before the training that the model can be stored, and that a release will contain the code that it needs.

    Raises:
        ConfigurationError: The model contains an object that cannot be stored, or uses a module of the project that is not in
            project.packages.
    """
    with storing_errors(project):
        modules = list_modules(pickle.dumps(model))
    missing = find_missing_packages(project, modules)
    if missing:
        raise ConfigurationError(
            f"the model uses code in {', '.join(missing)}, which project.packages does not contain, so a release could not "
            "load it",
            hint="Add the folder to project.packages in sluice.toml, or move the code into a folder that is listed there.",
        )


@contextmanager
def storing_errors(project: Project) -> Iterator[None]:
    """Turn the error of a model that cannot be stored into one that says what to change.

    Raises:
        ConfigurationError: The model contains an object that cannot be stored, for example a lambda.
    """
    try:
        yield
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        reason = next((line for line in str(error).splitlines() if line), type(error).__name__)
        raise ConfigurationError(
            f"the model that model.build {project.settings.model.build} returns cannot be stored: {reason}",
            hint=(
                "Replace each lambda and each function inside another function by a function at the top level of a module in "
                "project.packages. Keep open files and connections out of the model."
            ),
        ) from error


class _RecordingUnpickler(pickle.Unpickler):
    """Loads an object, and keeps the names of the modules that this needs."""

    def __init__(self, stored: bytes) -> None:
        super().__init__(io.BytesIO(stored))
        self.modules: set[str] = set()

    def find_class(self, module_name: str, global_name: str, /) -> Any:  # noqa: ANN401 - any class or function
        self.modules.add(module_name)
        return super().find_class(module_name, global_name)


def list_modules(stored: bytes) -> frozenset[str]:
    """Load an object that this process has just stored, and return the modules that the loading needs."""
    unpickler = _RecordingUnpickler(stored)
    unpickler.load()
    return frozenset(unpickler.modules)


def find_missing_packages(project: Project, modules: Iterable[str]) -> list[str]:
    """Return the files of the project among these modules that a release would not contain."""
    listed = {Path(package).parts[0] for package in project.settings.project.packages}
    missing = set()
    for name in modules:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and name.partition(".")[0] not in listed and _is_own_code(project, Path(file)):
            missing.add(str(Path(file).resolve().relative_to(project.root.resolve())))
    return sorted(missing)


def _is_own_code(project: Project, file: Path) -> bool:
    """Return whether a file belongs to the project, and not to an environment inside its folder or to Sluice."""
    root = project.root.resolve()
    place = file.resolve()
    if root not in place.parents or root / "sluice" in place.parents:
        return False
    return not any(part.startswith(".") or part in {"site-packages", "dist-packages"} for part in place.relative_to(root).parts)
