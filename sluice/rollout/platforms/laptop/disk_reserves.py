"""A reserve of disk space, so that a rollback can be ordered, carried out and recorded on a disk that is full.

The supervisor keeps a file of a fixed size in the rollout's folder. Whoever cannot write for lack of space removes it and writes
into the space that becomes free. The supervisor makes the file again as soon as there is space for it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RESERVE = ".reserve"
RESERVED_BYTES = 4 * 1024 * 1024
"""Some ten versions of the largest journal, with the status and the evidence beside it."""

_LACK_OF_SPACE = {errno.ENOSPC, errno.EDQUOT}


def hold_reserve(folder: Path) -> None:
    """Make the reserve if it is not there and the disk has at least twice as much space. Without that, do nothing."""
    reserve = folder / RESERVE
    with contextlib.suppress(OSError):
        if reserve.exists() or shutil.disk_usage(folder).free < 2 * RESERVED_BYTES:
            return
        draft = folder / f"{RESERVE}.new"
        with draft.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, RESERVED_BYTES)
        draft.replace(reserve)


def free_reserve(path: Path, error: OSError) -> bool:
    """Remove the reserve if a write failed for lack of space.

    Args:
        path: The file that could not be written. The reserve is in its folder or in the folder above.
        error: Why.

    Returns:
        Whether there was a reserve, so that the write can be tried again.
    """
    if error.errno not in _LACK_OF_SPACE:
        return False
    for folder in (path.parent, path.parent.parent):
        with contextlib.suppress(FileNotFoundError):
            (folder / RESERVE).unlink()
            return True
    return False
