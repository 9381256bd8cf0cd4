"""What a suite tests: the inputs that the options name, or else the project's latest ones.

`pytest tests/model` on a laptop and the layer in a pipeline find their inputs only through these functions.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.data.holdout import SNAPSHOT_FOLDER
from sluice.data.labelled_rows import read_frame
from sluice.data.locations import locate_snapshot
from sluice.data.snapshots import digest_data, digest_file, pin_for_reading
from sluice.errors import ConfigurationError, DataError, IntegrityError, StateError
from sluice.release.model_layer import MODEL_FILE
from sluice.release.models.model_files import load_model, read_released_digest

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
        digest: The expected digest of the file; None if it is the name of the file, as in `.sluice/models`.
        release: Digest of a packaged release. Its manifest says which digest its model has.

    Raises:
        DataError: There is no model, or it cannot be loaded with these libraries or this code.
        IntegrityError: The file has another digest, or nothing says which digest it must have. It is not loaded, because
            loading a pickle runs code from it.
    """
    if path is not None:
        return _load(project, Path(path), digest or _read_named_digest(Path(path), "model"))
    if release is not None:
        return _load_released(project, find_release(project, release))
    latest = project.state / LATEST_MODEL
    if not latest.exists():
        raise DataError(
            f"there is no model to test: {latest} does not exist",
            hint="Train a model with `sluice run` or `sluice test model`, or name a file with --sluice-model.",
        )
    file = latest.resolve()
    return _load(project, file, digest or _read_named_digest(file, "model"))


def find_champion(project: Project, path: str | None, digest: str | None = None) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """Return the champion's model; None if there is no champion yet.

    Args:
        project: The project.
        path: The file of the champion's model; None for the release that is tagged champion.
        digest: As for `find_model`.

    Raises:
        DataError: The model cannot be loaded with these libraries or this code.
        IntegrityError: The files are not those of the release, or nothing says which digest the file must have.
    """
    if path is not None:
        return _load(project, Path(path), digest or _read_named_digest(Path(path), "champion"))
    try:
        release = _open_releases(project).get("champion")
    except StateError:
        return None
    return _load_released(project, release.digest)


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


def _read_named_digest(file: Path, option: str) -> str:
    """Return the digest that is the name of a model's file.

    Raises:
        IntegrityError: The name is no digest.
    """
    if not _DIGITS.fullmatch(file.stem):
        known = f" The file has the digest {digest_file(file)} now." if file.is_file() else ""
        raise IntegrityError(
            f"nothing says which digest the model {file} must have, so it was not loaded",
            hint=f"Give its digest with --sluice-{option}-digest.{known}",
        )
    return f"sha256:{file.stem}"


def _load_released(project: Project, release: str) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """Load the model of a release. The release's digest covers its manifest, which contains the model's digest."""
    folder = _open_releases(project).unpack(release)
    return _load(project, folder / MODEL_FILE, read_released_digest(folder, release))


def _load(project: Project, path: Path, digest: str) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """Load a verified model, with the project's own packages first on the import path."""
    project.put_first_on_path()
    return load_model(path, digest)


def _open_releases(project: Project) -> Releases:
    """Return the project's releases."""
    from sluice.release.project_releases import open_releases  # noqa: PLC0415 - only suites that serve or compare releases need it

    return open_releases(project)
