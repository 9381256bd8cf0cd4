"""A folder of Parquet files as one snapshot, as partitioned exports are. Its digest covers the name and the bytes of each file.

Names that begin with ``_`` or ``.`` are left out, at every level, because Spark and others write markers and checksums under such
names, and readers of Parquet skip them. All other files must be Parquet.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from sluice.data.external_errors import describe_error, external_call
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
FOLDER_SUFFIX = ".parquet"
"""The suffix of a pinned folder, so that a loader that looks at the suffix reads it as Parquet."""

_DOMAIN = b"folder of files\0"
_MARKERS = ("_", ".")


def list_parts(folder: Path) -> list[str]:
    """Return the names of a folder's data files, relative to it, sorted by their bytes.

    Raises:
        DataError: There is none, or a file is not Parquet.
    """
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return pick_parts(names, str(folder))


def pick_parts(names: Iterable[str], folder: str) -> list[str]:
    """Return the names that are data, sorted by their bytes.

    Args:
        names: Names of files, relative to the folder, with ``/`` between their parts.
        folder: The folder, for messages.

    Raises:
        DataError: There is none, or one is not Parquet.
    """
    parts = [name for name in names if name and not any(part.startswith(_MARKERS) for part in PurePosixPath(name).parts)]
    other = next((name for name in sorted(parts) if PurePosixPath(name).suffix not in PARQUET_SUFFIXES), None)
    hint = "Name one file, or a folder that contains the Parquet files of one snapshot and nothing else."
    if other is not None:
        raise DataError(f"{folder} is a folder, and its file {other} is not Parquet", hint=hint)
    if not parts:
        raise DataError(f"{folder} is a folder without a Parquet file", hint=hint)
    return sorted(parts, key=lambda name: name.encode("utf-8", "surrogateescape"))


def digest_folder(folder: Path) -> str:
    """Return ``sha256:…`` over the sorted relative names of the data files and the digests of their bytes.

    Raises:
        DataError: As for `list_parts`, or a file cannot be read.
    """
    digest = hashlib.sha256(_DOMAIN)
    with external_call(f"cannot read {folder} to its end", hint="Check the disk and the permissions, then try again."):
        for name in list_parts(folder):
            with (folder / name).open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{name}\0{content}\n".encode("utf-8", "surrogateescape"))
    return f"sha256:{digest.hexdigest()}"


def copy_parts(folder: Path, target: Path) -> None:
    """Copy the data files of a folder into a new folder.

    Raises:
        DataError: As for `list_parts`, or a file cannot be read or written.
    """
    with external_call(f"cannot copy {folder}", hint="Check the disk and the permissions, then try again."):
        _write_parts(list_parts(folder), lambda name: (folder / name).open("rb"), target)


def pin_folder(location: str, folder: Path, *, url: bool) -> tuple[Path, str]:
    """Copy the data files of a folder to a folder whose name is their digest, and return its path and digest.

    The pinned folder appears complete or not at all. Pinning the same files again changes nothing. A damaged one is replaced.

    Args:
        location: Path of the folder, or its URL with a ``/`` at the end.
        folder: The folder of pinned data.
        url: Whether the location is a URL.

    Raises:
        DataError: As for `list_parts`, or the files cannot be read or written.
    """
    if not url and is_intact(pinned := _place(folder, digest := digest_folder(Path(location))), digest):
        return pinned, digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".pin-", dir=folder))
    except OSError as error:
        hint = "Free some space on that disk, or give your account write permission for that folder."
        raise DataError(f"cannot write a snapshot to {folder}: {describe_error(error)}", hint=hint) from error
    try:
        (_fetch_parts if url else lambda place, into: copy_parts(Path(place), into))(location, draft / "parts")
        # The digest describes the copied bytes, so a source that changes meanwhile gives another snapshot and never a wrong name.
        digest = digest_folder(draft / "parts")
        place_folder(draft / "parts", _place(folder, digest), digest)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return _place(folder, digest), digest


def place_folder(draft: Path, target: Path, digest: str) -> None:
    """Move a folder to its place, unless another process has put the same files there meanwhile.

    Raises:
        DataError: The folder cannot be moved there.
    """
    if is_intact(target, digest):
        return
    with external_call(f"cannot write the snapshot {target}", hint="Delete it, and check the permissions of its folder."):
        if target.exists():
            shutil.rmtree(target)
        try:
            draft.rename(target)
        except OSError:
            if not is_intact(target, digest):
                raise


def is_intact(folder: Path, digest: str) -> bool:
    """Return whether a folder exists with the files that the digest stands for."""
    try:
        return folder.is_dir() and digest_folder(folder) == digest
    except DataError:
        return False


def _place(folder: Path, digest: str) -> Path:
    return folder / f"{digest.removeprefix('sha256:')}{FOLDER_SUFFIX}"


def _fetch_parts(location: str, target: Path) -> None:
    import fsspec  # noqa: PLC0415 - it takes 0.1 s, and local files do not need it

    hint = "Check the URL and your credentials, then try again."
    with external_call(f"cannot read the folder {location}", hint=hint):
        system, path = fsspec.core.url_to_fs(location)
        start = f"{path.rstrip('/')}/"
        names = [name.removeprefix(start) for name in system.find(path.rstrip("/"))]
        _write_parts(pick_parts(names, location), lambda name: system.open(f"{start}{name}", "rb"), target)


def _write_parts(names: Iterable[str], open_part: Callable[[str], IO[bytes]], target: Path) -> None:
    for name in names:
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with open_part(name) as source, file.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        file.chmod(0o444)
