"""Whether the processes of a run are still there.

The process that starts a run holds a lock on a file in the run's folder, and the run's own process inherits it. The kernel frees
the lock when the last of them has ended, however they ended. So a run whose record says "running" and whose lock is free was cut
off, for example by SIGKILL or by a power failure.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOCK_FILE = "alive.lock"


def hold_run(folder: Path) -> int:
    """Lock a new run, and return the descriptor that holds the lock. Closing it frees the lock in this process."""
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def is_held(folder: Path) -> bool:
    """Return whether a process of the run is still there. Runs of earlier versions have no lock, and none of them is left."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two readers do not take each other for the run
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
