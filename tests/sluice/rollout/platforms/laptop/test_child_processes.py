from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from rollout_backends import is_running, wait_for

from sluice.rollout.platforms.laptop.child_processes import end_child, read_last_lines, start_below_shell, start_child


def start(kind: str, command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    if kind == "kernel":
        return start_child(command, log=folder / "log")
    with (folder / "log").open("ab") as file:
        return start_below_shell(command, {"stdout": file, "stderr": file, "start_new_session": True})


@pytest.mark.parametrize("kind", ["kernel", "shell"])
def test_a_child_is_ended_and_its_output_is_kept(tmp_path: Path, kind: str) -> None:
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    child = start(kind, [sys.executable, "-c", script], tmp_path)
    wait_for(lambda: read_last_lines(tmp_path / "log"))
    pid = int(read_last_lines(tmp_path / "log"))
    end_child(child)
    wait_for(lambda: not is_running(pid))
    end_child(child)


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ignores SIGTERM', flush=True); time.sleep(60)"
    )
    child = start("kernel", [sys.executable, "-c", script], tmp_path)
    wait_for(lambda: read_last_lines(tmp_path / "log") == "ignores SIGTERM")
    before = time.monotonic()
    end_child(child, grace=0.2)
    assert child.returncode == -9
    assert time.monotonic() - before < 30


@pytest.mark.parametrize("kind", ["kernel", "shell"])
def test_a_child_is_killed_when_its_parent_ends(tmp_path: Path, kind: str) -> None:
    parent = textwrap.dedent(f"""
        import sys, time; from pathlib import Path
        sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2])]!r}
        from test_child_processes import start
        script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
        start({kind!r}, [sys.executable, "-c", script], Path({str(tmp_path)!r}))
        time.sleep(60)
    """)
    process = subprocess.Popen([sys.executable, "-c", parent])
    wait_for(lambda: read_last_lines(tmp_path / "log"))
    pid = int(read_last_lines(tmp_path / "log"))
    assert is_running(pid)
    process.kill()
    process.wait()
    wait_for(lambda: not is_running(pid))


def test_the_last_lines_of_a_missing_log_are_empty(tmp_path: Path) -> None:
    assert read_last_lines(tmp_path / "none") == ""
    (tmp_path / "log").write_text("".join(f"line {number}\n" for number in range(1000)))
    assert read_last_lines(tmp_path / "log") == "line 995 | line 996 | line 997 | line 998 | line 999"
