"""Snapshots: data sets that never change. The SHA-256 of the file's bytes names them, or that of a folder's names and bytes.

The bytes are copied unchanged. They are never read into a frame and written again, because two libraries encode the same rows
differently, so the digest would no longer identify the data.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, cast

from sluice.data.external_errors import describe_error, external_call
from sluice.data.folders import PARQUET_SUFFIXES, digest_folder, list_parts, pin_folder
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "sha256:"
_CHUNK_BYTES = 1 << 20
_URL_SECRETS = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/]*@")
_COMPRESSIONS = {".gz", ".bz2", ".xz", ".zst", ".zip"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pinned data set.

    Attributes:
        path: The pinned copy, ``<hex digits of the digest><suffix>``. A folder of Parquet files is a folder again.
        digest: The digest of its bytes, ``sha256:…``.
        source: The path or URL that it was copied from.
    """

    path: Path
    digest: str
    source: str


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as ``sha256:…``. The file is read in chunks.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    with _open_source(str(path)) as stream:
        for chunk in _read_chunks(str(path), stream):
            digest.update(chunk)
    return PREFIX + digest.hexdigest()


def digest_data(path: Path) -> str:
    """Return the digest of a data set: that of a file's bytes, or that of a folder of Parquet files.

    Raises:
        DataError: It is missing or cannot be read, or the folder contains other files.
    """
    return digest_folder(path) if path.is_dir() else digest_file(path)


def is_folder(location: str) -> bool:
    """Return whether a location is a folder: a path of a folder, or a URL that ends with ``/``."""
    return location.endswith("/") if is_url(location) else Path(location).is_dir()


def pinned_path(folder: Path, digest: str, suffix: str) -> Path:
    """Return the path of the pinned file with this digest in a folder."""
    return folder / f"{digest.removeprefix(PREFIX)}{suffix}"


def pin_snapshot(location: str, folder: Path) -> Snapshot:
    """Copy a data set's bytes to a file whose name is their digest.

    The file appears complete or not at all. Pinning the same bytes again changes nothing. A damaged pinned file is replaced.

    Args:
        location: A local path, or any URL that fsspec reads (``s3://…``, ``memory://…``, ``zip://a.csv::/tmp/b.zip``). A folder
            of Parquet files is one data set; its URL ends with ``/``.
        folder: The folder of pinned files. It is created if it is missing.

    Returns:
        The snapshot. Its file keeps the suffix of the source, so that a loader that depends on the suffix still works.

    Raises:
        DataError: The source is missing or unreadable, or a folder with other files, or the folder is not writable.
    """
    if is_folder(location):
        return Snapshot(*pin_folder(location, folder, url=is_url(location)), location)
    suffix = snapshot_suffix(location)
    if not is_url(location):
        digest = digest_file(Path(location))
        pinned = pinned_path(folder, digest, suffix)
        if _is_intact(pinned, digest):
            return Snapshot(pinned, digest, location)
    # The digest describes the copied bytes, so a source that changes meanwhile gives another snapshot and never a wrong name.
    with _open_source(location) as stream:
        draft, digest = _copy_to_draft(location, stream, folder)
    pinned = pinned_path(folder, digest, suffix)
    try:
        if not _is_intact(pinned, digest):
            draft.replace(pinned)
    finally:
        draft.unlink(missing_ok=True)
    return Snapshot(pinned, digest, location)


def pin_for_reading(location: str, folder: Path) -> Snapshot:
    """Pin a data set even if the project is read-only: then the copy is in a temporary folder that ends with the process.

    Raises:
        DataError: As for `pin_snapshot`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    return pin_snapshot(location, folder if writable else Path(_scratch_folder().name))


def probe_source(location: str) -> int:
    """Open a data set and read its beginning, without a copy of it. A folder at a URL is read as a whole.

    Args:
        location: A local path or any URL that fsspec reads, as for `pin_snapshot`.

    Returns:
        How many bytes were read, at most one mebibyte of a file.

    Raises:
        DataError: The source is missing, empty or unreadable, or a local Parquet file is none.
    """
    if is_folder(location):
        if is_url(location):
            path, _ = pin_folder(location, Path(_scratch_folder().name), url=True)
            return sum((path / name).stat().st_size for name in list_parts(path))
        check_readable(Snapshot(Path(location), "", location))
        return sum((Path(location) / name).stat().st_size for name in list_parts(Path(location)))
    with _open_source(location) as stream:
        found = len(next(_read_chunks(location, stream), b""))
    if not found:
        raise DataError(f"{location} is empty: 0 bytes", hint="Copy or export the file again.")
    if not is_url(location):
        check_readable(Snapshot(Path(location), "", location))
    return found


def check_readable(snapshot: Snapshot) -> None:
    """Check that a pinned file has the format that its suffix names. The data tests check its contents.

    Raises:
        DataError: The file is empty, or its suffix is Parquet's and it is not a Parquet file. The message names the source, and
            of a folder the file too.
    """
    hint = "Copy or export the file again. It was truncated, or it has another format than its name says."
    parts = {snapshot.source: snapshot.path}
    if snapshot.path.is_dir():
        parts = {f"{snapshot.source.rstrip('/')}/{name}": snapshot.path / name for name in list_parts(snapshot.path)}
    for source, path in parts.items():
        if not path.stat().st_size:
            raise DataError(f"{source} is empty: 0 bytes", hint=hint)
        if path.suffix in PARQUET_SUFFIXES:
            import pyarrow.parquet as pq  # noqa: PLC0415 - it takes 0.1 s, and other formats do not need it

            with external_call(f"{source} is not a readable Parquet file", hint=hint):
                pq.read_metadata(path)


@functools.cache
def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Return the temporary folder of this process. It is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="sluice-snapshots-")


def is_url(location: str) -> bool:
    """Return whether fsspec reads the location. If not, it is a local path."""
    return "://" in location or "::" in location


def strip_credentials(location: str) -> str:
    """Return a path or URL without anything that could be a secret: user and password, query and fragment of each URL in it.

    >>> strip_credentials("zip://a.csv::https://ann:secret@host/b.zip?token=1")
    'zip://a.csv::https://host/b.zip'
    """
    return (
        "::".join(_URL_SECRETS.sub(r"\1", re.split("[?#]", part)[0]) for part in location.split("::"))
        if is_url(location)
        else location
    )


def snapshot_suffix(location: str) -> str:
    """Return the suffix of a location's file name. A compression's suffix includes the one before it.

    >>> snapshot_suffix("s3://bucket/churn.2024.csv.gz?versionId=3")
    '.csv.gz'
    """
    name = location
    if is_url(location):
        name = re.split("[?#]", location.split("::", 1)[0].rpartition("://")[2])[0]
    suffixes = PurePosixPath(name).suffixes[-2:]
    keep = 2 if suffixes and suffixes[-1] in _COMPRESSIONS else 1
    return "".join(suffixes[-keep:])


@contextlib.contextmanager
def _open_source(location: str) -> Iterator[IO[bytes]]:
    """Open a path or URL for reading bytes."""
    hint = "Check the path or URL in sluice.toml or on the command line, and check that you may read it."
    if is_url(location):
        import fsspec  # noqa: PLC0415 - it takes 0.1 s, and local files do not need it

        hint += " Some protocols need another library: s3fs for s3://, gcsfs for gs://, adlfs for abfs://, aiohttp for https://."
        with external_call(f"cannot read {location}", hint=hint):
            source = fsspec.open(location, "rb")  # it must exist until the end, because it owns the archive of a chained URL
            stream = cast("IO[bytes]", source.open())
        try:
            yield stream
        finally:
            source.close()
        return
    path = Path(location)
    if path.is_dir():
        raise DataError(f"{location} is a folder, but one file is needed", hint="Give the path of the file.")
    if not path.exists():
        raise DataError(f"there is no file {location}", hint=hint)
    with external_call(f"cannot read {location}", hint=hint):
        file = path.open("rb")
    with file:
        yield file


def _read_chunks(location: str, stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the stream in chunks of at most one mebibyte."""
    while True:
        hint = "Check the disk or the network, then try again."
        with external_call(f"cannot read {location} to its end", hint=hint):
            chunk = stream.read(_CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def _copy_to_draft(location: str, stream: IO[bytes], folder: Path) -> tuple[Path, str]:
    """Copy into a hidden file of the folder, and return its path and digest. If anything fails, the file is removed."""
    digest = hashlib.sha256()
    with contextlib.ExitStack() as on_failure:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".pin-", dir=folder)
            draft = Path(name)
            on_failure.callback(draft.unlink, missing_ok=True)
            with os.fdopen(handle, "wb") as target:
                for chunk in _read_chunks(location, stream):
                    digest.update(chunk)
                    target.write(chunk)
                target.flush()
                os.fsync(target.fileno())
            draft.chmod(0o444)
        except OSError as error:
            hint = "Free some space on that disk, or give your account write permission for that folder."
            raise DataError(f"cannot write a snapshot to {folder}: {describe_error(error)}", hint=hint) from error
        on_failure.pop_all()
    return draft, PREFIX + digest.hexdigest()


def _is_intact(path: Path, digest: str) -> bool:
    """Return whether a pinned file exists with the bytes that its name stands for."""
    return path.is_file() and digest_file(path) == digest
