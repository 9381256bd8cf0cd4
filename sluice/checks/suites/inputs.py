"""What a suite is given to test: found by the options, or where they are absent by what the project made last.

`pytest tests/model` on a laptop and the layer in a pipeline read their inputs through these functions alone.
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
from sluice.data.snapshots import PREFIX, digest_file, pin_for_reading
from sluice.errors import ConfigurationError, DataError, IntegrityError, StateError
from sluice.release.model_layer import LOAD_ERRORS, MODEL_FILE

if TYPE_CHECKING:
    import pandas as pd

    from sluice.project.projects import Project

LATEST_MODEL = Path("models") / "latest"
"""Below the project's state: a link to the model that was trained last, whose file is named by its digest."""

_DIGITS = re.compile("[0-9a-f]{64}")


class PinnedData:
    """The snapshot under test.

    Attributes:
        path: The pinned file.
        digest: ``sha256:…`` of its bytes.
    """

    def __init__(self, project: Project, path: Path, digest: str) -> None:
        """Bind a pinned file to the project whose loader reads it."""
        self._project = project
        self.path = path
        self.digest = digest

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as the project's loader gives them; read once.

        Raises:
            ConfigurationError: ``data.load`` names no loader.
            DataError: The loader refuses the file.
        """
        return read_frame(self._project, self.path)


class Thresholds(dict[str, float]):
    """``[thresholds]`` of sluice.toml; one that is missing is named."""

    def __missing__(self, key: str) -> float:
        """Name the missing threshold.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            f"sluice.toml: there is no thresholds.{key}; there are {', '.join(self) or 'none'}",
            hint=f"Add {key} = <number> below [thresholds].",
        )


def find_snapshot(project: Project, path: str | None) -> PinnedData:
    """The pinned file that was given, else ``data.snapshot`` pinned now.

    Raises:
        DataError: It is missing or cannot be read.
    """
    if path is not None:
        return PinnedData(project, Path(path), digest_file(Path(path)))
    pinned = pin_for_reading(project.locate(project.settings.data.snapshot), project.state / SNAPSHOT_FOLDER)
    return PinnedData(project, pinned.path, pinned.digest)


def find_model(project: Project, path: str | None, digest: str | None, release: str | None) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """The fitted model, loaded after its bytes were verified.

    Args:
        project: The project, whose packages the model needs to load.
        path: Its file; None for that of the release, or else the one trained last.
        digest: What the file's bytes must have; None only where the file's name says it.
        release: Digest of a packaged release.

    Raises:
        DataError: There is no model, or these libraries or this code cannot read it.
        IntegrityError: Its bytes are others; it is not loaded, since loading runs what is in it.
    """
    if path is not None:
        return load_model(project, Path(path), digest)
    if release is not None:
        return load_model(project, unpack_release(project, release) / MODEL_FILE, None)
    latest = project.state / LATEST_MODEL
    if not latest.exists():
        raise DataError(
            f"there is no model to test: {latest} is not there",
            hint="Train one with `sluice run` or `sluice test model`, or name a file with --sluice-model.",
        )
    file = latest.resolve()
    return load_model(project, file, digest or (f"sha256:{file.stem}" if _DIGITS.fullmatch(file.stem) else None))


def find_champion(project: Project, path: str | None) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """The champion's model; None before the first release that went live.

    Raises:
        DataError: These libraries or this code cannot read it.
        IntegrityError: Its bytes are not those that were released.
    """
    if path is not None:
        return load_model(project, Path(path), None)
    store = _open_store(project)
    if store is None or not any("champion" in release.tags for release in store.list()):
        return None
    return load_model(project, store.unpack(store.get("champion").digest) / MODEL_FILE, None)


def find_release(project: Project, reference: str | None) -> str:
    """Digest of the release that was named, else of the one packaged last.

    Raises:
        StateError: There is none.
    """
    store = _open_store(project)
    releases = store.list() if store is not None else []
    if store is None or not releases:
        raise StateError(
            "there is no packaged release to serve", hint="Package one with `sluice run` or `sluice test integration`."
        )
    return str(store.get(reference).digest if reference else max(releases, key=lambda release: release.number).digest)


def unpack_release(project: Project, reference: str | None) -> Path:
    """Folder of a release's model layer, verified by the store.

    Raises:
        IntegrityError: A blob's bytes are not those of its name.
        StateError: There is no such release.
    """
    digest = find_release(project, reference)
    return Path(_open_store(project).unpack(digest))


def load_model(project: Project, path: Path, digest: str | None) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """Load a model with joblib, the project's own packages first on the path.

    Raises:
        DataError: It is missing, or these libraries or this code cannot read it.
        IntegrityError: Its bytes do not have the digest.
    """
    import joblib  # noqa: PLC0415 - with it comes numpy; a suite that asks for no model does not pay for it

    try:
        stored = path.read_bytes()
    except OSError as error:
        hint = "Train one with `sluice run`, or correct the path."
        raise DataError(f"the model {path} cannot be read: {describe_error(error)}", hint=hint) from error
    found = PREFIX + hashlib.sha256(stored).hexdigest()
    if digest is not None and found != digest:
        raise IntegrityError(
            f"the model {path} has digest {found}, not {digest}", hint="Do not load it. Train again: `sluice run`."
        )
    project.put_first_on_path()
    try:
        return joblib.load(io.BytesIO(stored))  # the very bytes that were verified, whatever becomes of the file
    except LOAD_ERRORS as error:
        raise DataError(
            f"the model {path.name} cannot be loaded: {describe_error(error)}",
            hint="It was made with other libraries or other code. Train it again in this environment.",
        ) from error


def _open_store(project: Project) -> Any:  # noqa: ANN401 - None without releases
    """The project's releases; None where nothing was ever packaged."""
    folder = project.state / "releases"
    if not folder.is_dir():
        return None
    from sluice.release.store.releases import ReleaseStore  # noqa: PLC0415 - only the suites that serve or compare need it

    return ReleaseStore(folder)
