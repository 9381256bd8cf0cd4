"""What a suite tests: the inputs that the options name, or else the project's latest ones.

`pytest tests/model` on a laptop and the layer in a pipeline find their inputs only through these functions.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.external_errors import describe_error
from sluice.data.holdout import SNAPSHOT_FOLDER
from sluice.data.labelled_rows import read_frame
from sluice.data.locations import locate_snapshot
from sluice.data.snapshots import PREFIX, digest_data, pin_for_reading
from sluice.errors import ConfigurationError, DataError, IntegrityError, StateError
from sluice.release.model_layer import LOAD_ERRORS, MODEL_FILE

if TYPE_CHECKING:
    import pandas as pd

    from sluice.project.projects import Project
    from sluice.release.project_releases import Releases

LATEST_MODEL = Path("models") / "latest"
"""A link, below the project's state folder, to the model that was trained last. The name of that file is its digest."""

_DIGITS = re.compile("[0-9a-f]{64}")


class PinnedData:
    """The snapshot under test.

    Attributes:
        path: The pinned file.
        digest: ``sha256:…`` of the file.
    """

    def __init__(self, project: Project, path: Path, digest: str) -> None:
        """Bind a pinned file to the project whose loader reads it."""
        self._project = project
        self.path = path
        self.digest = digest

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as the project's loader returns them. The file is read once.

        Raises:
            ConfigurationError: ``data.load`` does not name a loader.
            DataError: The loader rejects the file.
        """
        return read_frame(self._project, self.path)


class Thresholds(dict[str, float]):
    """``[thresholds]`` of sluice.toml. The error for a missing threshold names it."""

    def __missing__(self, key: str) -> float:
        """Name the missing threshold.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            f"sluice.toml: there is no thresholds.{key}; the thresholds are {', '.join(self) or 'none'}",
            hint=f"Add {key} = <number> to [thresholds].",
        )


def find_snapshot(project: Project, path: str | None) -> PinnedData:
    """Return the given pinned file, or else pin the newest snapshot now and return it.

    Raises:
        DataError: The file does not exist or cannot be read.
    """
    if path is not None:
        return PinnedData(project, Path(path), digest_data(Path(path)))
    pinned = pin_for_reading(locate_snapshot(project), project.state / SNAPSHOT_FOLDER)
    return PinnedData(project, pinned.path, pinned.digest)


def find_model(project: Project, path: str | None, digest: str | None, release: str | None) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """Load the fitted model after verifying its digest.

    Args:
        project: The project. The model needs its packages to load.
        path: The model file; None for the model of the release, or else the model that was trained last.
        digest: The expected digest of the file; None if only the name of the file contains it.
        release: Digest of a packaged release.

    Raises:
        DataError: There is no model, or it cannot be loaded with these libraries or this code.
        IntegrityError: The file has another digest. It is not loaded, because loading a pickle runs code from it.
    """
    if path is not None:
        return load_model(project, Path(path), digest)
    if release is not None:
        return load_model(project, unpack_release(project, release) / MODEL_FILE, None)
    latest = project.state / LATEST_MODEL
    if not latest.exists():
        raise DataError(
            f"there is no model to test: {latest} does not exist",
            hint="Train a model with `sluice run` or `sluice test model`, or name a file with --sluice-model.",
        )
    file = latest.resolve()
    return load_model(project, file, digest or (f"sha256:{file.stem}" if _DIGITS.fullmatch(file.stem) else None))


def find_champion(project: Project, path: str | None) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """Return the champion's model; None if there is no champion yet.

    Raises:
        DataError: The model cannot be loaded with these libraries or this code.
        IntegrityError: The files are not those of the release.
    """
    if path is not None:
        return load_model(project, Path(path), None)
    releases = _open_releases(project)
    try:
        release = releases.get("champion")
    except StateError:
        return None
    return load_model(project, releases.unpack(release.digest) / MODEL_FILE, None)


def find_release(project: Project, reference: str | None) -> str:
    """Return the digest of the named release, or else of the release that was packaged last.

    Raises:
        StateError: There is no release.
    """
    releases = _open_releases(project)
    if reference:
        return str(releases.get(reference).digest)
    found = releases.list()
    if not found:
        raise StateError(
            "there is no packaged release to serve", hint="Package a release with `sluice run` or `sluice test integration`."
        )
    return str(found[-1].digest)


def unpack_release(project: Project, reference: str | None) -> Path:
    """Return the folder of a release's model layer, which the store has verified.

    Raises:
        IntegrityError: A blob does not have the digest in its name.
        StateError: The release does not exist.
    """
    return _open_releases(project).unpack(find_release(project, reference))


def load_model(project: Project, path: Path, digest: str | None) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """Load a model with joblib, with the project's own packages first on the import path.

    Raises:
        DataError: The file does not exist, or it cannot be loaded with these libraries or this code.
        IntegrityError: The file does not have the digest.
    """
    import joblib  # noqa: PLC0415 - it imports numpy, which a suite without a model does not need

    try:
        stored = path.read_bytes()
    except OSError as error:
        hint = "Train a model with `sluice run`, or correct the path."
        raise DataError(f"the model {path} cannot be read: {describe_error(error)}", hint=hint) from error
    found = PREFIX + hashlib.sha256(stored).hexdigest()
    if digest is not None and found != digest:
        raise IntegrityError(
            f"the model {path} has digest {found}, not {digest}", hint="Do not load it. Train a model again with `sluice run`."
        )
    project.put_first_on_path()
    try:
        return joblib.load(io.BytesIO(stored))  # These are the verified bytes, even if the file changes meanwhile.
    except LOAD_ERRORS as error:
        raise DataError(
            f"the model {path.name} cannot be loaded: {describe_error(error)}",
            hint="The model was made with other libraries or other code. Train it again in this environment.",
        ) from error


def _open_releases(project: Project) -> Releases:
    """Return the project's releases."""
    from sluice.release.project_releases import open_releases  # noqa: PLC0415 - only suites that serve or compare releases need it

    return open_releases(project)
