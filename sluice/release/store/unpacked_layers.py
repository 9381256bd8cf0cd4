"""Unpacked model layers: one folder for each layer, with its digest as the name. So a rollback unpacks and builds nothing."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.errors import IntegrityError, ServiceError
from sluice.release.model_layer import extract_layer, layer_digest, verify_folder

if TYPE_CHECKING:
    from collections.abc import Collection

UNPACKED_FOLDER = "unpacked"
"""The name of the folder of unpacked layers in the project's state folder."""

_PREFIX = "sha256:"
_DRAFT_PREFIX = ".draft-"
_DRAFT_SECONDS = 86_400.0


def unpacked_path(folder: Path, digest: str) -> Path:
    """Return the path for the layer with a digest, whether it exists or not."""
    return folder / digest.removeprefix(_PREFIX)


def is_unpacked(folder: Path, digest: str) -> bool:
    """Return whether the layer is unpacked and every byte of it matches its digest."""
    path = unpacked_path(folder, digest)
    try:
        return path.is_dir() and layer_digest(path) == digest
    except IntegrityError:
        return False


def draft_folder(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder for making a layer, on the same file system as its final path.

    The folder is removed when the context ends.

    Raises:
        ServiceError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=_DRAFT_PREFIX, dir=folder)
    except OSError as error:
        raise ServiceError(
            f"{folder} cannot be written: {error.strerror}",
            hint="Give your account write permission for that folder, or choose another folder with $SLUICE_STATE.",
        ) from error


def place_layer(draft: Path, folder: Path, digest: str) -> Path:
    """Move a finished layer to its final path in one step, and return that path. An intact layer that is already there stays.

    Args:
        draft: The layer's files inside a `draft_folder`. Their digest is `digest`.
        folder: The folder of unpacked layers.
        digest: The layer's digest.

    Raises:
        ServiceError: Another process repeatedly puts a damaged layer at that path.
    """
    target = unpacked_path(folder, digest)
    for attempt in range(3):
        try:
            return draft.rename(target)
        except OSError:  # the folder exists: another process was faster, or the existing layer is damaged
            if is_unpacked(folder, digest):
                return target
            if target.exists():
                target.rename(draft.parent / f"damaged-{attempt}")
    raise ServiceError(f"{target} cannot be replaced", hint="Check whether another process changes that folder, then try again.")


def unpack_layer(blob: Path, folder: Path, digest: str) -> Path:
    """Unpack a layer to its final path, and return that path. The caller has checked the blob's bytes against the digest.

    Raises:
        IntegrityError: The blob cannot be unpacked, or the unpacked files do not have the digest.
    """
    with draft_folder(folder) as name:
        draft = Path(name) / "layer"
        with blob.open("rb") as stream:
            extract_layer(stream, draft)
        verify_folder(draft, digest)
        return place_layer(draft, folder, digest)


def remove_unpacked(folder: Path, digests: Collection[str]) -> None:
    """Remove unpacked layers, and drafts of killed processes that are more than a day old."""
    for digest in digests:
        shutil.rmtree(unpacked_path(folder, digest), ignore_errors=True)
    oldest = time.time() - _DRAFT_SECONDS
    for draft in folder.glob(f"{_DRAFT_PREFIX}*"):
        if draft.stat().st_mtime < oldest:
            shutil.rmtree(draft, ignore_errors=True)
