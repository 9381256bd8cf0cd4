"""Run commands in forks of this process, which has imported Sluice and the libraries already.

A new interpreter takes more than a second to import them, and a command imports what it needs when it is called. The tests of the
command line run hundreds of commands. Each command still has a process, an environment and a working folder of its own.

Each line on standard input is a JSON object with `arguments`, `cwd`, `environment`, `out` and `err` (two files for the output).
Each line on standard output is the exit code.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import sys
from typing import Any

import sluice

LIBRARIES = ("pandas", "pyarrow.parquet", "sklearn.pipeline", "kfp.compiler", "kubernetes.client")
PROGRAMS = ("sluice.__main__", "sluice.argo.launcher")
"""Modules that act when they are imported."""


def run_command(request: dict[str, Any]) -> int:
    """Run one command as ``python -m sluice`` does, and return its exit code."""
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
    sys.path[0], sys.argv = request["cwd"], ["sluice", *request["arguments"]]
    from sluice.cli import main

    try:
        main()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def serve() -> None:
    """Answer requests until standard input is closed."""
    answers = os.fdopen(os.dup(1), "w")
    modules = [module.name for module in pkgutil.walk_packages(sluice.__path__, "sluice.") if module.name not in PROGRAMS]
    for name in (*LIBRARIES, *modules):
        importlib.import_module(name)
    gc.freeze()  # otherwise the collector of a child would write to each page that it shares with this process
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = run_command(json.loads(line))
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


if __name__ == "__main__":
    serve()
