"""Run commands of `sluice`, each in a process of its own."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MINIMAL = """
[project]
name = "small"
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "loading:load"
label = "y"
id = "id"
[model]
build = "loading:build"
"""
"""A sluice.toml with only the required settings. The files that it names do not exist."""


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Start the process that runs the commands of this test session; it ends when this process does."""
    script = Path(__file__).with_name("command_server.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a process with threads must not fork
    server = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    atexit.register(server.kill)
    return server


def sluice(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command. From the caller's environment it gets no Sluice settings except those that are given here."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        out.touch()
        err.touch()
        request = {
            "arguments": arguments,
            "cwd": str(cwd),
            "environment": _clean_environment() | environment,
            "out": str(out),
            "err": str(err),
        }
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, "the server of commands has ended"
        return subprocess.CompletedProcess(["sluice", *arguments], int(answer), out.read_text("utf-8"), err.read_text("utf-8"))


def sluice_in_new_interpreter(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does, with an interpreter that has imported nothing."""
    return subprocess.run(
        [sys.executable, "-m", "sluice", *arguments],
        cwd=cwd,
        env=_clean_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def _clean_environment() -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
    return clean | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
