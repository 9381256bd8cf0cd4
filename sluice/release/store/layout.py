"""An OCI image layout on disk: blobs, which their digests name, and one index that lists the images.

Specification: opencontainers/image-spec v1.1, image-layout.md. A blob never changes after it was written. A writer holds the lock
and replaces the whole index as its last action. So a reader needs no lock, and a writer that is killed at any point leaves at
most files that nothing refers to.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sluice.errors import IntegrityError, ServiceError
from sluice.release.manifest import write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PREFIX = "sha256:"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_INDEX_FILE = "index.json"
_LAYOUT_FILE = "oci-layout"
_LOCK_FILE = ".lock"
_DRAFT_PREFIX = ".draft-"
_CHUNK_BYTES = 1 << 20
_VERIFY_HINT = (
    "`sluice release verify` names every damaged file. Package the model again, or restore the damaged files from a copy."
)

Descriptor = dict[str, Any]
"""An OCI descriptor: ``mediaType``, ``digest`` and ``size`` of a blob, and optional further fields."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A folder with an OCI image layout. A folder that does not exist counts as an empty layout.

    Attributes:
        folder: The folder.
    """

    folder: Path

    @property
    def blobs(self) -> Path:
        """The folder with all blobs."""
        return self.folder / "blobs" / "sha256"

    def blob_path(self, digest: str) -> Path:
        """Return the path of the blob with a digest."""
        return self.blobs / digest.removeprefix(PREFIX)

    def read_index(self) -> dict[str, Any]:
        """Read the index. If there is none, return an empty index.

        Raises:
            IntegrityError: The index cannot be read.
        """
        file = self.folder / _INDEX_FILE
        try:
            index = json.loads(file.read_text(encoding="utf-8"))
            index["manifests"] = [{**descriptor} for descriptor in index["manifests"]]
        except FileNotFoundError:
            return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [], "annotations": {}}
        except (ValueError, LookupError, TypeError) as error:
            raise IntegrityError(f"{file} cannot be read as the index of an OCI layout: {error}", hint=_VERIFY_HINT) from error
        return {"annotations": {}, **index}

    @contextlib.contextmanager
    def edit_index(self) -> Iterator[dict[str, Any]]:
        """Hold the lock and yield the index, which the caller may change. It is written if the block ends without an error.

        Raises:
            IntegrityError: The index cannot be read.
            ServiceError: The folder cannot be written.
        """
        with self._locked():
            for draft in (*self.folder.glob(f"{_DRAFT_PREFIX}*"), *self.blobs.glob(f"{_DRAFT_PREFIX}*")):
                draft.unlink()  # it belongs to a killed writer, because running writers wait for the lock
            index = self.read_index()
            before = write_json(index)
            yield index
            if write_json(index) != before or not (self.folder / _INDEX_FILE).exists():
                self._replace(self.folder / _LAYOUT_FILE, write_json({"imageLayoutVersion": "1.0.0"}))
                self._replace(self.folder / _INDEX_FILE, write_json(index))

    def add_blob(self, write: Callable[[IO[bytes]], object], media_type: str) -> Descriptor:
        """Add a blob. An intact blob with the same digest stays, and a damaged one is replaced. The caller holds the lock.

        Args:
            write: Writes the blob's bytes to a stream.
            media_type: The media type of the blob.
        """
        draft = self._draft(self.blobs)
        with draft.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        digest, size = hash_file(draft)
        path = self.blob_path(digest)
        if path.is_file() and hash_file(path) == (digest, size):
            draft.unlink()
        else:
            draft.chmod(0o444)
            draft.replace(path)
            _sync_folder(path.parent)
        return {"mediaType": media_type, "digest": digest, "size": size}

    def add_json(self, value: object, media_type: str) -> Descriptor:
        """Add a JSON document as a blob. The caller holds the lock."""
        data = write_json(value)
        return self.add_blob(lambda stream: stream.write(data), media_type)

    def read_json(self, descriptor: Mapping[str, Any]) -> dict[str, Any]:
        """Check the bytes of a JSON blob against its descriptor, and return the document.

        Raises:
            IntegrityError: The bytes cannot be read, or they do not have the descriptor's size and digest.
        """
        path = self.blob_path(descriptor["digest"])
        try:
            data = path.read_bytes()
        except OSError as error:
            raise IntegrityError(f"blob {path} cannot be read: {error.strerror}", hint=_VERIFY_HINT) from error
        if fault := _describe_fault(path, descriptor, PREFIX + hashlib.sha256(data).hexdigest(), len(data)):
            raise IntegrityError(fault, hint=_VERIFY_HINT)
        return dict(json.loads(data))

    def check_blob(self, descriptor: Mapping[str, Any]) -> str:
        """Say in one sentence what is wrong with a blob's bytes; return an empty text if they match the descriptor."""
        path = self.blob_path(descriptor["digest"])
        try:
            digest, size = hash_file(path)
        except OSError as error:
            return f"blob {path} cannot be read: {error.strerror}"
        return _describe_fault(path, descriptor, digest, size)

    def require_blob(self, descriptor: Mapping[str, Any]) -> Path:
        """Check a blob's bytes against its descriptor, and return its path.

        Raises:
            IntegrityError: The bytes cannot be read, or they do not match.
        """
        if fault := self.check_blob(descriptor):
            raise IntegrityError(fault, hint=_VERIFY_HINT)
        return self.blob_path(descriptor["digest"])

    def remove_unreferenced(self, kept: set[str]) -> None:
        """Delete all blobs except those with these digests. The caller holds the lock, and the index refers to no other blob."""
        for path in self.blobs.iterdir():
            if PREFIX + path.name not in kept:
                path.unlink()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the layout's lock. The kernel releases it when the process ends, even after a kill."""
        try:
            self.blobs.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / _LOCK_FILE).open("a")
        except OSError as error:
            raise ServiceError(
                f"the release store {self.folder} cannot be written: {error.strerror}",
                hint="Give your account write permission for that folder, or choose another folder with $SLUICE_STATE.",
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _replace(self, path: Path, data: bytes) -> None:
        """Write a file so that it appears complete or not at all, even after a power failure."""
        draft = self._draft(path.parent)
        with draft.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.chmod(0o644)
        draft.replace(path)
        _sync_folder(path.parent)

    def _draft(self, folder: Path) -> Path:
        handle, name = tempfile.mkstemp(prefix=_DRAFT_PREFIX, dir=folder)
        os.close(handle)
        return Path(name)


def hash_file(path: Path) -> tuple[str, int]:
    """Return the digest and the size of a file's bytes.

    Raises:
        OSError: The file cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return PREFIX + digest.hexdigest(), size


def _describe_fault(path: Path, descriptor: Mapping[str, Any], digest: str, size: int) -> str:
    if size != descriptor.get("size", size):
        return f"blob {path} has {size:,} bytes instead of {descriptor['size']:,}: it was truncated or edited"
    if digest != descriptor["digest"]:
        return f"blob {path} has the digest {digest}: it was edited"
    return ""


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
