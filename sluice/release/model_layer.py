"""The model layer: one deterministic tar, whose SHA-256 is the name of the release.

The tar is also a layer of an OCI image as it stands: its files lie under `LAYER_ROOT`, it is not compressed (so that its
digest is both the blob's and the image configuration's ``diff_id``), and nothing in it depends on when, where or by whom it
was made. ``__pycache__`` folders are no part of it: `sluice.scoring.sources` never reads them.

Standard library only: the serving environment verifies its layer with it, before anything in it is loaded.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from sluice.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYER_ROOT = "opt/sluice/release"
"""Where the layer's files lie in an image."""

CODE_FOLDER = "code"
"""Folder of a model layer that holds the project's own packages."""

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
"""What joblib raises on a model that these libraries, or this version of the project's code, cannot read."""

MANIFEST_FILE = "manifest.json"
PREFIX = "sha256:"
CACHE_FOLDER = "__pycache__"
FILE_MODE = 0o644
FOLDER_MODE = 0o755
_CHUNK_BYTES = 1 << 20
_WHITEOUT = ".wh."


class _Digesting:
    """A sink that hashes what is written and passes it on, if there is somewhere to pass it on to."""

    def __init__(self, target: IO[bytes] | None) -> None:
        self.hash = hashlib.sha256()
        self.target = target

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        if self.target is not None:
            self.target.write(data)
        return len(data)


def write_layer(folder: Path, target: Path | IO[bytes]) -> str:
    """Write a folder as a layer.

    Args:
        folder: The layer's files: ``model.joblib``, ``golden.json``, ``manifest.json``, ``code/…``.
        target: Where the tar goes: a path that is made, or a stream open for writing bytes.

    Returns:
        The layer's digest, ``sha256:…``.

    Raises:
        IntegrityError: The folder is not there, or holds something that is neither a file nor a folder, such as a symbolic
            link: what it points to could change without the digest.
    """
    if isinstance(target, Path):
        with target.open("wb") as stream:
            return _write(folder, stream)
    return _write(folder, target)


def layer_digest(folder: Path) -> str:
    """The digest that `write_layer` would give, without writing.

    Raises:
        IntegrityError: As `write_layer`.
    """
    return _write(folder, None)


def verify_folder(folder: Path, digest: str) -> None:
    """Hold every byte of an unpacked layer against the digest that is expected of it.

    Args:
        folder: The unpacked layer.
        digest: Where this comes from decides what the check is worth: it must not come from the folder.

    Raises:
        IntegrityError: They differ.
    """
    found = layer_digest(folder)
    if found != digest:
        raise IntegrityError(
            f"the model layer in {folder} has digest {found}, not {digest} as expected",
            hint="Nothing of it was loaded. `sluice release verify` tells whether the release itself is whole; unpack it again.",
        )


def extract_layer(stream: IO[bytes], folder: Path) -> None:
    """Unpack a layer's tar into a folder, which is made.

    Only what `write_layer` writes is accepted. The bytes must have been held against their digest before.

    Raises:
        IntegrityError: It is no such tar: damaged, or with links, devices or paths that lead elsewhere.
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


def _write(folder: Path, target: IO[bytes] | None) -> str:
    if not folder.is_dir():
        raise IntegrityError(f"there is no model layer in {folder}", hint="Unpack the release, or name the folder that holds it.")
    sink = _Digesting(target)
    # PAX is spelt out, and times, owners and modes are fixed: only names and bytes may tell two layers apart.
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for part in reversed([PurePosixPath(LAYER_ROOT), *PurePosixPath(LAYER_ROOT).parents][:-1]):
            archive.addfile(_describe(str(part), folder=True))
        for relative, path in _list_files(folder):
            name = f"{LAYER_ROOT}/{relative}"
            if path.is_dir():
                archive.addfile(_describe(name, folder=True))
                continue
            with path.open("rb") as content:
                entry = _describe(name, folder=False)
                entry.size = os.fstat(content.fileno()).st_size
                archive.addfile(entry, content)
    return PREFIX + sink.hash.hexdigest()


def _describe(name: str, *, folder: bool) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = (tarfile.DIRTYPE, FOLDER_MODE) if folder else (tarfile.REGTYPE, FILE_MODE)
    return entry


def _list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files and folders below a folder by the bytes of their path, folders before what is in them."""
    found: list[tuple[tuple[str, ...], Path]] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != CACHE_FOLDER]
        for name in (*folders, *files):
            path = Path(parent) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise IntegrityError(
                    f"{path} is neither a file nor a folder, and a model layer holds only those",
                    hint="Replace a link by what it points to.",
                )
            if name.startswith(_WHITEOUT):
                raise IntegrityError(f"{path}: in an image, names in {_WHITEOUT}* mean a removal", hint="Rename the file.")
            found.append((path.relative_to(folder).parts, path))
    for parts, path in sorted(found, key=lambda item: [part.encode("utf-8", "surrogateescape") for part in item[0]]):
        yield "/".join(parts), path


def _place(member: tarfile.TarInfo, folder: Path) -> Path | None:
    """Where a member goes; None for the folders above the layer's own."""
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()) or path.is_absolute() or ".." in path.parts:
        raise _unreadable(f"{member.name!r} is no plain file or folder of the layer")
    root = PurePosixPath(LAYER_ROOT)
    if path == root or path in root.parents:
        return None
    if root not in path.parents:
        raise _unreadable(f"{member.name!r} lies outside {LAYER_ROOT}")
    return folder / path.relative_to(root)


def _unreadable(reason: str) -> IntegrityError:
    return IntegrityError(f"the model layer cannot be unpacked: {reason}", hint="Package the model again: `sluice run`.")
