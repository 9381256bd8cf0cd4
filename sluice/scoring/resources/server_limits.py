"""Limits of memory and CPU for a server on a laptop, which need neither root nor cgroups. Linux only; elsewhere there are none.

Memory is what a process may write and does not share (RLIMIT_DATA, and ``VmData`` in /proc). An allocation above the limit
fails, so that one request gets an error and the machine stays alive. RLIMIT_AS would also count libraries and address space that
nothing uses.

This module needs only the standard library, because the server's launcher uses it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

MEGABYTE = 1_000_000

_OOM_SCORE = 500
"""If the machine's memory is exhausted, the kernel ends a server before it ends Envoy or the supervisor, which have 0."""


def apply_limits(*, memory: int, cpus: int) -> None:
    """Set the limits of this process and of all that it will start.

    Args:
        memory: Bytes of data that each process may have; 0 for no limit.
        cpus: The processors that all of them may use; 0 for all.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")
    if memory:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    if cpus:
        os.sched_setaffinity(0, choose_cpus(os.sched_getaffinity(0), cpus, start=os.getpid()))


def choose_cpus(allowed: Collection[int], count: int, *, start: int) -> set[int]:
    """Choose processors. Servers with different `start` get different ones, as far as there are enough. Pure.

    >>> sorted(choose_cpus({4, 5, 6, 7}, 2, start=3))
    [4, 7]
    """
    known = sorted(allowed)
    return {known[(start + step) % len(known)] for step in range(min(count, len(known)))}


def read_memory(process: int) -> int:
    """Return the bytes of data of the largest process among this one and those that it started; 0 if they are gone."""
    largest, waiting = 0, [process]
    while waiting:
        folder = Path(f"/proc/{(found := waiting.pop())}")
        with contextlib.suppress(OSError, ValueError):
            status = (folder / "status").read_text(encoding="ascii", errors="replace")
            waiting += map(int, (folder / "task" / str(found) / "children").read_text(encoding="ascii").split())
            largest = max(largest, *(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:")))
    return largest
