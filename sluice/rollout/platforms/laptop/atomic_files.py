"""Write a file so that no reader ever sees a part of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sluice.rollout.platforms.laptop.disk_reserves import free_reserve


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file as a whole. A reader sees either the old or the new content, even if the writer is killed.

    If the disk is full, content that must survive uses the reserve (`disk_reserves`).

    Args:
        path: The file. Its folder is created if it is missing.
        content: The new content.
        durable: Whether the content must survive a power failure, so that it is synchronised to the disk before this returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _replace(path, content, durable=durable)
    except OSError as error:
        if not durable or not free_reserve(path, error):
            raise
        _replace(path, content, durable=durable)


def _replace(path: Path, content: bytes, *, durable: bool) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
