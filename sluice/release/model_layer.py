"""The model layer: one deterministic tar file. Its SHA-256 is the digest that names the release.

The tar can be used unchanged as a layer of an OCI image. Its files are under `LAYER_ROOT`. It is not compressed, so its digest is
both the blob's digest and the ``diff_id`` in the image's configuration. Nothing in it depends on the time, the machine or the
user. ``__pycache__`` folders are left out, because `sluice.scoring.verified_imports` never reads them.

This module needs only the standard library, because the serving environment verifies its layer with it before it loads anything.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Protocol

from sluice.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

LAYER_ROOT = "opt/sluice/release"
"""The folder of the layer's files in an image."""

CODE_FOLDER = "code"
"""The folder of a model layer that contains the project's own packages."""

MODEL_FILE = "model.joblib"

LOAD_ERRORS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""The errors that joblib raises if the installed libraries or the project's present code cannot load a model."""

MANIFEST_FILE = "manifest.json"
DRIFT_REFERENCE_FILE = "drift_reference.json"
"""What drift is measured against, frozen at training. Layers of earlier versions do not have it."""

PREFIX = "sha256:"
CACHE_FOLDER = "__pycache__"
FILE_MODE = 0o644
FOLDER_MODE = 0o755
_CHUNK_BYTES = 1 << 20
_WHITEOUT = ".wh."
_MAX_MANIFEST_BYTES = 4 << 20
_MAX_HEADER_BYTES = 1 << 20


class ByteSource(Protocol):
    """Something that bytes are read from, such as an open file or a download."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class LayerContents:
    """What a model layer contains, as its bytes say.

    Attributes:
        digest: The digest of the layer.
        model: The digest of the model file.
        manifest: The manifest.
    """

    digest: str
    model: str
    manifest: dict[str, Any]


class _HashingWriter:
    """A stream that hashes the written bytes and writes them to a target, if there is one."""

    def __init__(self, target: IO[bytes] | None) -> None:
        self.hash = hashlib.sha256()
        self.target = target

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        if self.target is not None:
            self.target.write(data)
        return len(data)


def write_layer(folder: Path, target: Path | IO[bytes]) -> str:
    """Write a folder as a model layer.

    Args:
        folder: The layer's files: ``model.joblib``, ``golden.json``, ``manifest.json``, ``code/…``.
        target: The path of the tar to create, or a stream that is open for writing bytes.

    Returns:
        The layer's digest, ``sha256:…``.

    Raises:
        IntegrityError: The folder does not exist, or it contains something other than files and folders. A symbolic link, for
            example, is refused, because its target could change while the digest stays the same.
    """
    if isinstance(target, Path):
        with target.open("wb") as stream:
            return _write(folder, stream)
    return _write(folder, target)


def layer_digest(folder: Path) -> str:
    """Return the digest that `write_layer` would return, without writing anything.

    Raises:
        IntegrityError: As for `write_layer`.
    """
    return _write(folder, None)


def verify_folder(folder: Path, digest: str) -> None:
    """Check every byte of an unpacked layer against the expected digest.

    Args:
        folder: The unpacked layer.
        digest: The expected digest. It must come from outside the folder, otherwise the check proves nothing.

    Raises:
        IntegrityError: The digests differ.
    """
    read_verified_files(folder, digest)


def read_verified_files(folder: Path, digest: str, *names: str) -> dict[str, bytes]:
    """Check every byte of an unpacked layer as `verify_folder` does, and return the bytes of some of its files.

    Each file is read once: the bytes that were hashed are returned. So a file that is replaced afterwards is never used.

    Args:
        folder: The unpacked layer.
        digest: The expected digest, which comes from outside the folder.
        names: The paths of the files, relative to the layer. A path that ends with ``/`` is a folder with all its files. A file
            that the layer does not have is left out.

    Raises:
        IntegrityError: The digests differ.
    """
    kept: dict[str, bytes] = {}
    found = _write(folder, None, names, kept)
    if found != digest:
        raise IntegrityError(
            f"the model layer in {folder} has the digest {found}, but {digest} is expected",
            hint="Nothing of it was loaded. Check the stored release with `sluice release verify`. If it is sound, delete this "
            "folder, and Sluice unpacks it again.",
        )
    return kept


def extract_layer(stream: IO[bytes], folder: Path) -> None:
    """Unpack a layer's tar into a new folder.

    Only a tar as `write_layer` writes it is accepted. The caller must have checked its bytes against the digest.

    Raises:
        IntegrityError: The tar is damaged, or it contains links, devices or paths outside the layer's folder.
    """
    folder.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                path = _place(member, folder)
                if path is None:
                    continue
                if member.isdir():
                    path.mkdir(exist_ok=True)
                    continue
                content = archive.extractfile(member)
                if content is None:
                    raise _unreadable(f"{member.name} has no content")
                with path.open("xb") as target:
                    while chunk := content.read(_CHUNK_BYTES):
                        target.write(chunk)
                path.chmod(FILE_MODE)
    except (tarfile.TarError, EOFError) as error:
        raise _unreadable(str(error)) from error


class _BoundedEntry(tarfile.TarInfo):
    """An entry of a tar whose author is not trusted: names and other headers of any length would be read into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:  # tarfile calls it for each header
        if not (self.isreg() or self.isdir()) and self.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header has {self.size:,} bytes")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found

    def _proc_gnusparse_10(self, *_: object) -> None:  # tarfile calls it for a sparse file, whose map may be of any length
        raise tarfile.ReadError("it contains a sparse file")


class _HashingReader:
    """A source of bytes that hashes what is read."""

    def __init__(self, source: ByteSource) -> None:
        self.hash = hashlib.sha256()
        self.source = source

    def read(self, size: int) -> bytes:
        data = self.source.read(size)
        self.hash.update(data)
        return data


def read_layer_contents(source: ByteSource) -> LayerContents:
    """Read a layer's tar once, from beginning to end, and keep nothing of it but the manifest. Nothing in it is loaded.

    Raises:
        IntegrityError: It is not the tar of a model layer, or it contains the model or the manifest twice.
    """
    reader = _HashingReader(source)
    found: dict[str, bytes | str] = {}
    try:
        with tarfile.open(fileobj=reader, mode="r|", tarinfo=_BoundedEntry) as archive:  # type: ignore[call-overload]
            for member in archive:
                name = member.name.removeprefix(f"{LAYER_ROOT}/")
                if name not in {MODEL_FILE, MANIFEST_FILE}:
                    continue
                content = archive.extractfile(member)
                if content is None or name in found or (name == MANIFEST_FILE and member.size > _MAX_MANIFEST_BYTES):
                    raise _unreadable(f"{member.name} is there twice, is no file, or is too large")
                found[name] = content.read() if name == MANIFEST_FILE else _hash(content)
        while reader.read(_CHUNK_BYTES):
            pass  # the digest covers what comes after the end of the archive, too
        manifest = json.loads(found[MANIFEST_FILE])
    except (tarfile.TarError, EOFError, LookupError, ValueError, RecursionError) as error:
        raise _unreadable(f"{type(error).__name__}: {error}") from error
    if not isinstance(manifest, dict) or MODEL_FILE not in found:
        raise _unreadable(f"it has no {MODEL_FILE}, or its {MANIFEST_FILE} is no table")
    return LayerContents(PREFIX + reader.hash.hexdigest(), str(found[MODEL_FILE]), manifest)


def _hash(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(_CHUNK_BYTES):
        digest.update(chunk)
    return PREFIX + digest.hexdigest()


def _write(folder: Path, target: IO[bytes] | None, names: Collection[str] = (), kept: dict[str, bytes] | None = None) -> str:
    """Write the tar, return its digest, and put the bytes of the files that `names` has into `kept`."""
    wanted = tuple(name for name in names if name.endswith("/"))
    if not folder.is_dir():
        raise IntegrityError(
            f"there is no model layer in {folder}", hint="Unpack the release, or give the folder that contains it."
        )
    sink = _HashingWriter(target)
    # The format, times, owners and modes are fixed, so that only names and bytes of files determine the digest.
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for part in reversed([PurePosixPath(LAYER_ROOT), *PurePosixPath(LAYER_ROOT).parents][:-1]):
            archive.addfile(_describe(str(part), folder=True))
        for relative, path in _list_files(folder):
            name = f"{LAYER_ROOT}/{relative}"
            if path.is_dir():
                archive.addfile(_describe(name, folder=True))
                continue
            entry = _describe(name, folder=False)
            if kept is not None and (relative in names or relative.startswith(wanted)):
                stored = kept[relative] = path.read_bytes()
                entry.size = len(stored)
                archive.addfile(entry, io.BytesIO(stored))
                continue
            with path.open("rb") as content:
                entry.size = os.fstat(content.fileno()).st_size
                archive.addfile(entry, content)
    return PREFIX + sink.hash.hexdigest()


def _describe(name: str, *, folder: bool) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = (tarfile.DIRTYPE, FOLDER_MODE) if folder else (tarfile.REGTYPE, FILE_MODE)
    return entry


def _list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield files and folders below a folder, sorted by the bytes of their path. Each folder comes before its contents."""
    found: list[tuple[tuple[str, ...], Path]] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != CACHE_FOLDER]
        for name in (*folders, *files):
            path = Path(parent) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise IntegrityError(
                    f"{path} is neither a file nor a folder, but a model layer may contain nothing else",
                    hint="Replace a link with the file or folder that it points to.",
                )
            if name.startswith(_WHITEOUT):
                raise IntegrityError(
                    f"{path} cannot be packaged, because a name that begins with {_WHITEOUT} removes a file in an OCI image",
                    hint="Rename the file.",
                )
            found.append((path.relative_to(folder).parts, path))
    for parts, path in sorted(found, key=lambda item: [part.encode("utf-8", "surrogateescape") for part in item[0]]):
        yield "/".join(parts), path


def _place(member: tarfile.TarInfo, folder: Path) -> Path | None:
    """Return the path for a member of the tar, or None for the folders above the layer's own files."""
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()) or path.is_absolute() or ".." in path.parts:
        raise _unreadable(f"{member.name!r} is not a plain file or folder of the layer")
    root = PurePosixPath(LAYER_ROOT)
    if path == root or path in root.parents:
        return None
    if root not in path.parents:
        raise _unreadable(f"{member.name!r} is outside {LAYER_ROOT}")
    return folder / path.relative_to(root)


def _unreadable(reason: str) -> IntegrityError:
    return IntegrityError(f"the model layer cannot be unpacked: {reason}", hint="Package the model again: `sluice run`.")


def digest_code(folder: Path) -> dict[str, str]:
    """Return path, relative to the code, of each file of the code in a layer → its digest.

    Args:
        folder: The folder of an unpacked model layer.
    """
    code = folder / CODE_FOLDER
    files = (path for path in code.rglob("*") if path.is_file() and CACHE_FOLDER not in path.relative_to(code).parts)
    return {path.relative_to(code).as_posix(): f"{PREFIX}{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files}


def digest_behaviour(folder: Path) -> str:
    """Return one digest over what determines a release's answers in one environment: the model's file and the code.

    Two releases may differ only in their manifests, for example because the same model was packaged twice.

    Args:
        folder: The folder of an unpacked model layer.
    """
    digest = hashlib.sha256()
    for path in sorted([folder / MODEL_FILE, *(folder / CODE_FOLDER).rglob("*")]):
        if path.is_file() and CACHE_FOLDER not in path.parts:
            digest.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return f"{PREFIX}{digest.hexdigest()}"
