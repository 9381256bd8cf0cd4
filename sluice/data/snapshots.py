"""Snapshots: data sets that never change, named by the SHA-256 of their file's bytes.

The bytes are copied as they are, never read into a frame and written again: two libraries encode the same rows
differently, and then the name would say nothing.
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

from sluice.data.boundaries import describe_error, foreign_call
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "sha256:"
_CHUNK_BYTES = 1 << 20
_PARQUET = {".parquet", ".pq"}
_COMPRESSIONS = {".gz", ".bz2", ".xz", ".zst", ".zip"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pinned data set.

    Attributes:
        path: The pinned copy, ``<hex digits of the digest><suffix>``.
        digest: ``sha256:…`` of its bytes.
        source: The path or URL it was copied from.
    """

    path: Path
    digest: str
    source: str


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes as ``sha256:…``, read in pieces.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    with _open_source(str(path)) as stream:
        for chunk in _read_chunks(str(path), stream):
            digest.update(chunk)
    return PREFIX + digest.hexdigest()


def named_path(folder: Path, digest: str, suffix: str) -> Path:
    """Where a file with this digest lies in a folder of pinned files."""
    return folder / f"{digest.removeprefix(PREFIX)}{suffix}"


def pin_snapshot(location: str, folder: Path) -> Snapshot:
    """Copy a data set's bytes to a file that is named by their digest.

    The file appears whole or not at all. Pinning the same bytes again changes nothing; a pinned file that was damaged
    is replaced.

    Args:
        location: A local path, or any URL that fsspec reads (``s3://…``, ``memory://…``, ``zip://a.csv::/tmp/b.zip``).
        folder: Where pinned files lie; made when it is missing.

    Returns:
        The snapshot. The suffix of its file is the source's, so that a loader that goes by it still works.

    Raises:
        DataError: The source is missing, unreadable or not a file, or the folder cannot be written.
    """
    suffix = snapshot_suffix(location)
    if not is_url(location):
        digest = digest_file(Path(location))
        pinned = named_path(folder, digest, suffix)
        if _is_intact(pinned, digest):
            return Snapshot(pinned, digest, location)
    # The digest is of what was copied: a source that changes meanwhile gives another snapshot, never a wrong name.
    with _open_source(location) as stream:
        draft, digest = _copy_to_draft(location, stream, folder)
    pinned = named_path(folder, digest, suffix)
    try:
        if not _is_intact(pinned, digest):
            draft.replace(pinned)
    finally:
        draft.unlink(missing_ok=True)
    return Snapshot(pinned, digest, location)


def pin_for_reading(location: str, folder: Path) -> Snapshot:
    """Pin, where `folder` cannot be written into one that ends with the process: a project may be read-only.

    Raises:
        DataError: As `pin_snapshot`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    return pin_snapshot(location, folder if writable else Path(_scratch_folder().name))


def check_readable(snapshot: Snapshot) -> None:
    """Whether a pinned file is at all of the kind that its ending says; what is in it is the data layer's business.

    Raises:
        DataError: It is empty, or no Parquet file though it is called one; the message names its source.
    """
    hint = "Copy or export it again: it was cut off on its way, or is something else."
    if not snapshot.path.stat().st_size:
        raise DataError(f"{snapshot.source} is empty: 0 bytes", hint=hint)
    if snapshot.path.suffix in _PARQUET:
        import pyarrow.parquet as pq  # noqa: PLC0415 - costs a tenth of a second that other formats need not pay

        with foreign_call(f"{snapshot.source} is no readable Parquet file", hint=hint):
            pq.read_metadata(snapshot.path)


@functools.cache
def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """One folder for the process; it is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="sluice-snapshots-")


def is_url(location: str) -> bool:
    """Whether fsspec reads the location, and not the local file system."""
    return "://" in location or "::" in location


def snapshot_suffix(location: str) -> str:
    """The ending of a location's file name, with the one before it where the last is a compression.

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
    hint = "Check the path or URL in sluice.toml or on the command line, and that you may read it."
    if is_url(location):
        import fsspec  # noqa: PLC0415 - costs a tenth of a second that local files need not pay

        hint += " Some protocols need a library of their own (s3fs for s3://, gcsfs for gs://, adlfs for abfs://, aiohttp for https://)."
        with foreign_call(f"cannot read {location}", hint=hint):
            source = fsspec.open(location, "rb")  # kept until the end: with it goes the archive that a chained URL reads from
            stream = cast("IO[bytes]", source.open())
        try:
            yield stream
        finally:
            source.close()
        return
    path = Path(location)
    if path.is_dir():
        raise DataError(f"{location} is a folder; a snapshot is one file", hint="Name the file itself.")
    if not path.exists():
        raise DataError(f"there is no file {location}", hint=hint)
    with foreign_call(f"cannot read {location}", hint=hint):
        file = path.open("rb")
    with file:
        yield file


def _read_chunks(location: str, stream: IO[bytes]) -> Iterator[bytes]:
    """The stream in pieces of at most a mebibyte."""
    while True:
        hint = "Check the medium or the network, then try again."
        with foreign_call(f"cannot read {location} to its end", hint=hint):
            chunk = stream.read(_CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def _copy_to_draft(location: str, stream: IO[bytes], folder: Path) -> tuple[Path, str]:
    """Copy into a hidden file of the folder, which goes away again when anything fails; its path and digest."""
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
            hint = "Free some space there, or give yourself the right to write."
            raise DataError(f"cannot write a snapshot to {folder}: {describe_error(error)}", hint=hint) from error
        on_failure.pop_all()
    return draft, PREFIX + digest.hexdigest()


def _is_intact(path: Path, digest: str) -> bool:
    """Whether a pinned file is there with the bytes that its name promises."""
    return path.is_file() and digest_file(path) == digest
