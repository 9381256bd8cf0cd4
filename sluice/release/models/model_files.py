"""Files of fitted models. This is the only module that unpickles one, and it does so only after it has verified the bytes.

Loading a pickle runs code that is in it. Therefore the expected digest comes from a place other than the file: what training
recorded, the manifest of a verified release, or a person's option. The file is read once. What is hashed is what is loaded, so a
file that changes meanwhile changes nothing.

`load_model` needs joblib, and everything else only the standard library, because the serving environment uses this module.
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

from sluice.errors import DataError, IntegrityError
from sluice.release.model_layer import LOAD_ERRORS, MANIFEST_FILE, PREFIX, read_verified_files

if TYPE_CHECKING:
    from pathlib import Path


def read_model(path: Path, digest: str) -> bytes:
    """Read the file of a model once, and return its bytes if they have the digest.

    Args:
        path: The file.
        digest: The expected digest, ``sha256:…``. It must come from outside the file's folder, otherwise it proves nothing.

    Raises:
        DataError: The file does not exist or cannot be read.
        IntegrityError: The file has another digest.
    """
    try:
        stored = path.read_bytes()
    except OSError as error:
        hint = "Train a model with `sluice run`, or correct the path."
        raise DataError(f"the model {path} cannot be read: {error.strerror or error}", hint=hint) from error
    _check_digest(stored, digest, what=f"the model {path}")
    return stored


def read_released_digest(folder: Path, release: str) -> str:
    """Return the digest that the model of a release must have, from the manifest that the release's digest covers.

    Args:
        folder: The unpacked model layer.
        release: The digest of the release.

    Raises:
        IntegrityError: The folder does not have the release's digest, or its manifest names no model.
    """
    stored = read_verified_files(folder, release, MANIFEST_FILE)
    try:
        return str(json.loads(stored[MANIFEST_FILE])["model"]["digest"])
    except (ValueError, LookupError, TypeError) as error:
        raise IntegrityError(f"the manifest in {folder} names no model: {error}", hint="Package the model again.") from error


def load_model(path: Path, digest: str) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """Load a fitted model after its digest was verified.

    Args:
        path: The file.
        digest: As for `read_model`.

    Raises:
        DataError: The file cannot be read, or it cannot be loaded with the installed libraries and the project's present code.
        IntegrityError: The file has another digest. Nothing of it was loaded.
    """
    stored = read_model(path, digest)
    try:
        return unpickle_model(stored, digest)
    except LOAD_ERRORS as error:
        raise DataError(
            f"the model {path.name} cannot be loaded: {type(error).__name__}: {error}",
            hint="The model was made with other libraries or other code. Train it again in this environment with `sluice run`.",
        ) from error


def unpickle_model(stored: bytes, digest: str) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    """Load a fitted model from the bytes of its file. All other functions that load a model call this one.

    Raises:
        IntegrityError: The bytes have another digest. Nothing of them was loaded.
        LOAD_ERRORS: The installed libraries or the project's present code cannot load the model.
    """
    import joblib  # noqa: PLC0415 - it imports numpy, which a suite without a model does not need

    _check_digest(stored, digest, what="the model")
    return joblib.load(io.BytesIO(stored))


def _check_digest(stored: bytes, digest: str, *, what: str) -> None:
    found = PREFIX + hashlib.sha256(stored).hexdigest()
    if found != digest:
        raise IntegrityError(
            f"{what} has digest {found}, not {digest or 'one that is known'}",
            hint="Do not load it. Train a model again with `sluice run`.",
        )
