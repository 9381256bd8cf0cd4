"""Unpacked layers: one folder each, named by the layer's digest, so that going back to a release unpacks and builds nothing."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.errors import IntegrityError, ServiceError
from sluice.release.layer import extract_layer, layer_digest, verify_folder

if TYPE_CHECKING:
    from collections.abc import Collection

FOLDER = "unpacked"
"""Its name below the project's state."""

_PREFIX = "sha256:"
_DRAFT_PREFIX = ".draft-"
_DRAFT_SECONDS = 86_400.0


def unpacked_path(folder: Path, digest: str) -> Path:
    """Where the layer with a digest lies, or would."""
    return folder / digest.removeprefix(_PREFIX)


def is_unpacked(folder: Path, digest: str) -> bool:
    """Whether a layer lies there with every byte that its digest covers."""
    path = unpacked_path(folder, digest)
    try:
        return path.is_dir() and layer_digest(path) == digest
    except IntegrityError:
        return False


def draft_folder(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder in which a layer is made, on the same file system as its place; it goes away with the context.

    Raises:
        ServiceError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=_DRAFT_PREFIX, dir=folder)
    except OSError as error:
        raise ServiceError(
            f"{folder} cannot be written: {error.strerror}",
            hint="Give yourself the right to write there, or choose another place with $SLUICE_STATE.",
        ) from error


def place_layer(draft: Path, folder: Path, digest: str) -> Path:
    """Move a finished layer to its place, where it appears as a whole; a sound one that is there already stays.

    Args:
        draft: The layer's files, inside a `draft_folder`; its digest is `digest`.
        folder: The folder of unpacked layers.
        digest: The layer's digest.
    """
    target = unpacked_path(folder, digest)
    for attempt in range(3):
        try:
            return draft.rename(target)
        except OSError:  # it is not empty: somebody was faster, or what is there is damaged
            if is_unpacked(folder, digest):
                return target
            if target.exists():
                target.rename(draft.parent / f"damaged-{attempt}")
    raise ServiceError(f"{target} cannot be replaced", hint="Look whether another process changes it, then try again.")


def unpack_layer(blob: Path, folder: Path, digest: str) -> Path:
    """Unpack a layer, whose bytes were held against its digest, to its place.

    Raises:
        IntegrityError: What came out is not the layer.
    """
    with draft_folder(folder) as name:
        draft = Path(name) / "layer"
        with blob.open("rb") as stream:
            extract_layer(stream, draft)
        verify_folder(draft, digest)
        return place_layer(draft, folder, digest)


def remove_unpacked(folder: Path, digests: Collection[str]) -> None:
    """Remove layers that are not kept any more, and drafts that killed processes left a day ago."""
    for digest in digests:
        shutil.rmtree(unpacked_path(folder, digest), ignore_errors=True)
    oldest = time.time() - _DRAFT_SECONDS
    for draft in folder.glob(f"{_DRAFT_PREFIX}*"):
        if draft.stat().st_mtime < oldest:
            shutil.rmtree(draft, ignore_errors=True)
