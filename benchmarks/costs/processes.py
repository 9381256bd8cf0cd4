"""Measure CPU time and memory of a call in a process of its own, so that two ways to compute the same thing can be compared.

A machine that is shared with other work is fast and slow by turns. Therefore the two are measured in turn, and the ratio of a
pair counts, not the time of one run.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call cost.

    Attributes:
        cpu_seconds: CPU time of the process for the call, user and system, all threads.
        peak_mib: Largest memory of the process (resident set), with the libraries that it loaded, in MiB.
    """

    cpu_seconds: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two ways to do the same, each measured several times in turn.

    Attributes:
        own: The costs of the first way, shape (rounds,).
        other: The costs of the second way, shape (rounds,).
    """

    own: tuple[Cost, ...]
    other: tuple[Cost, ...]

    @property
    def ratio(self) -> float:
        """The median over the pairs of own CPU time divided by the other CPU time."""
        return statistics.median(a.cpu_seconds / b.cpu_seconds for a, b in zip(self.own, self.other, strict=True))


def measure_call(call: Callable[[], object]) -> None:
    """Run the call and print its cost as JSON. Use it in the process that `measure_command` starts."""
    before = time.process_time()
    call()
    spent = time.process_time() - before
    print(json.dumps([spent, read_peak_memory() / 2**20]))


def read_peak_memory() -> int:
    """Return the peak memory of this process in bytes. `ru_maxrss` would include the process that started this one."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return 1024 * int(found[1]) if found else 0


def measure_command(command: Sequence[str]) -> Cost:
    """Run a command that calls `measure_call` or prints the same two numbers, and return the cost.

    Raises:
        RuntimeError: The command failed. The message ends with its last line.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or ["no output"]
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {lines[-1]}")
    seconds, peak = json.loads(lines[-1])
    return Cost(float(seconds), float(peak))


def compare_commands(own: Sequence[str], other: Sequence[str], *, rounds: int = 3) -> Comparison:
    """Measure two commands in turn."""
    pairs = [(measure_command(own), measure_command(other)) for _ in range(rounds)]
    return Comparison(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def call_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this project with this Python."""
    return [sys.executable, "-m", module, *arguments]


def add_comparison(table: Table, name: str, ways: tuple[str, str], found: Comparison) -> None:
    """Add the median costs of both ways to a table with the columns name, way, CPU, ratio and MiB."""
    for way, costs in zip(ways, (found.own, found.other), strict=True):
        ratio = f"{found.ratio:.2f} x" if costs is found.own else "1 x"
        cpu, peak = (statistics.median(getattr(cost, field) for cost in costs) for field in ("cpu_seconds", "peak_mib"))
        table.add_row(name, way, f"{1000 * cpu:.1f} ms", ratio, f"{peak:.0f}")
