"""Run Python programs in forks of one process, which has imported their libraries already.

A new interpreter takes two seconds to import pandas and scikit-learn, and the tests run hundreds of programs. Each program still
has a process, an environment and a working folder of its own.

`run_forked` is for tests. As a program, this file is the process that forks. Its arguments are the modules to import; `name.*` is
a package with all that it contains. Each line on standard input is a JSON object with `program` (the arguments of an interpreter:
`-m module …` or `file …`), `cwd`, `environment`, `out` and `err` (two files for the output). Each line on standard output is the
exit code.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROGRAMS = ("sluice.__main__", "sluice.argo.launcher")
"""Modules that act when they are imported."""


@functools.cache
def _start_server(python: str, modules: tuple[str, ...]) -> subprocess.Popen[str]:
    """Start the process that forks; it ends when this process does."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a process with threads must not fork
    server = subprocess.Popen(
        [python, __file__, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    atexit.register(server.kill)
    return server


def run_forked(
    command: Sequence[str | Path], *, modules: Sequence[str], cwd: Path | str, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a program, as `subprocess.run` does.

    Args:
        command: The interpreter, and its arguments: ``-m module …`` or ``file …``.
        modules: What the process that forks imports before. All commands with the same interpreter and modules share it.
        cwd: The working folder.
        env: The environment.
    """
    server = _start_server(str(command[0]), tuple(modules))
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        out.touch()
        err.touch()
        program = [str(word) for word in command[1:]]
        request = {"program": program, "cwd": str(cwd), "environment": dict(env), "out": str(out), "err": str(err)}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, "the process that forks has ended"
        return subprocess.CompletedProcess(command, int(answer), out.read_text("utf-8"), err.read_text("utf-8"))


# --- the process that forks


def preload(names: list[str]) -> None:
    """Import modules, and keep the collector of the forks from writing to the pages that they share with this process."""
    for name in names:
        module = importlib.import_module(name.removesuffix(".*"))
        if name.endswith(".*"):
            for found in pkgutil.walk_packages(module.__path__, f"{module.__name__}."):
                if found.name not in PROGRAMS:
                    importlib.import_module(found.name)
    gc.freeze()


def run_program(request: dict[str, Any], installed: list[str]) -> int:
    """Run one program as an interpreter does, and return its exit code."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    for descriptor, name, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["out"], os.O_WRONLY),
        (2, request["err"], os.O_WRONLY),
    ):
        os.dup2(os.open(name, mode), descriptor)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode, encoding="utf-8") for number, mode in enumerate("rww"))  # noqa: PTH123, SIM115
    own = [] if os.environ.get("PYTHONSAFEPATH") else [request["cwd"]]
    sys.path[:] = [*own, *_read_path(), *installed]
    program = request["program"]
    try:
        if program[0] == "-m":
            sys.argv = program[1:]
            runpy.run_module(program[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = program
            runpy.run_path(program[0], run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - an interpreter shows any error
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _read_path() -> list[str]:
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


def serve() -> None:
    """Answer requests until standard input is closed."""
    answers = os.fdopen(os.dup(1), "w")
    installed = [folder for folder in sys.path[1:] if folder not in _read_path()]
    preload(sys.argv[1:])
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = run_program(json.loads(line), installed)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


if __name__ == "__main__":
    serve()
