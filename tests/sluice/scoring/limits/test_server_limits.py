"""The limits of a server hold without root, and say where they do not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sluice.scoring.resources.server_limits import choose_cpus, read_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these limits")

PROGRAM = """
import os, sys
from sluice.scoring.resources.server_limits import apply_limits
apply_limits(memory=300_000_000, cpus=1)
try:
    bytearray(400_000_000)
except MemoryError:
    print("refused", end=" ", flush=True)
kept = bytearray(100_000_000)
child = os.fork()
if not child:
    try:
        bytearray(400_000_000)
    except MemoryError:
        print("refused in a child", end=" ", flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(len(os.sched_getaffinity(0)), open("/proc/self/oom_score_adj").read().strip(), flush=True)
sys.stdin.read()
"""


def test_an_allocation_above_the_limit_fails_and_the_memory_of_a_process_is_known() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "refused refused in a child 1 500\n"
        assert 100_000_000 < read_memory(process.pid) < 300_000_000
        process.stdin.close()
    assert read_memory(process.pid) == 0


@pytest.mark.parametrize(("count", "start", "chosen"), [(1, 0, {2}), (1, 1, {5}), (2, 2, {2, 9}), (7, 1, {2, 5, 9})])
def test_servers_get_different_processors_as_far_as_there_are_enough(count: int, start: int, chosen: set[int]) -> None:
    assert choose_cpus({9, 2, 5}, count, start=start) == chosen
