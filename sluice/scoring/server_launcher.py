"""The program that a server's process runs: ``python server_launcher.py SETTINGS``. It becomes a Seldon microservice.

It calls `seldon_core.microservice.main`, as the command ``seldon-core-microservice`` does. It adds what a server on a laptop
needs and that command has no option for:

- The server inherits a socket that is bound to the loopback interface. seldon-core 1.17.1 would bind every interface,
  and only the proxy may reach the server. The socket is passed as systemd passes it (``LISTEN_FDS``), which gunicorn
  supports. So no other process can take the port between its choice and its use.
- No process of the server outlives the process that started it, even after SIGKILL, or the process that it was forked from. Each
  process watches its parent and a pipe, the lifeline, whose other end the starting process holds. PR_SET_PDEATHSIG is not used,
  because it fires when the thread that started the server ends, and only Linux has it.
- Of the project, only the server class's package and `sluice` can be imported. If a model needs a package that its release does
  not contain, it fails here as in a cluster, instead of finding the package in the working tree.
- Seldon's metrics server is not started. It would listen on all interfaces, and the proxy counts the requests.

This module needs only the standard library.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
import threading
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

FIRST_SYSTEMD_SOCKET = 3
FIRST_UNUSED_DESCRIPTOR = 64
"""From this number on, no file descriptor is in use when a process starts."""

PARENT_CHECK_SECONDS = 0.5
"""How often a process checks that its parent still runs. It notices a closed lifeline at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSettings:
    """The launcher's settings. The starting process passes them as JSON in the only argument.

    Attributes:
        socket: The descriptor of the bound socket.
        lifeline: The descriptor of the reading end of the pipe that closes when the starting process ends.
        packages: Top-level package that may be imported → folder that contains it.
        arguments: The arguments of ``seldon-core-microservice``.
        memory: Bytes of data that each process of the server may have; 0 for no limit.
        cpus: Processors that the server may use; 0 for all.
    """

    socket: int
    lifeline: int
    packages: Mapping[str, str]
    arguments: Sequence[str]
    memory: int = 0
    cpus: int = 0


class _AllowedPackagesFinder(MetaPathFinder):
    """Finds the allowed packages in their folders, and nothing else in these folders."""

    def __init__(self, packages: Mapping[str, str]) -> None:
        self.packages = packages

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None or fullname not in self.packages:
            return None
        return PathFinder.find_spec(fullname, [self.packages[fullname]], target)


class _LifelineWatch:
    """Kills the whole process group when the starting process, or the process that this one was forked from, has ended."""

    def __init__(self, lifeline: int) -> None:
        self.lifeline = lifeline
        self.forking_process = 0

    def start(self, parent: int) -> None:
        threading.Thread(target=self._run, args=(parent,), name="lifeline", daemon=True).start()

    def before_fork(self) -> None:
        self.forking_process = os.getpid()

    def after_fork_in_child(self) -> None:
        self.start(self.forking_process)

    def _run(self, parent: int) -> None:
        while os.getppid() == parent:
            if select.select([self.lifeline], [], [], PARENT_CHECK_SECONDS)[0] and not os.read(self.lifeline, 1):
                break
        os.killpg(0, signal.SIGKILL)


def launch(settings: LaunchSettings) -> None:
    """Run the microservice. Returns only when it ends."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # the watch kills the whole process group, so this process needs its own group
    # Both descriptors are moved away from 3 first, because either of them may be 3.
    lifeline, inherited = (
        fcntl.fcntl(number, fcntl.F_DUPFD, FIRST_UNUSED_DESCRIPTOR) for number in (settings.lifeline, settings.socket)
    )
    os.closerange(FIRST_SYSTEMD_SOCKET, FIRST_UNUSED_DESCRIPTOR)
    os.dup2(inherited, FIRST_SYSTEMD_SOCKET)
    os.close(inherited)
    watch = _LifelineWatch(lifeline)
    watch.start(os.getppid())
    os.register_at_fork(before=watch.before_fork, after_in_child=watch.after_fork_in_child)
    sys.meta_path.insert(0, _AllowedPackagesFinder(settings.packages))

    from sluice.scoring.resources.server_limits import apply_limits  # noqa: PLC0415 - only now it can be found

    apply_limits(memory=settings.memory, cpus=settings.cpus)

    from seldon_core import microservice  # noqa: PLC0415 - it takes a second, and the watch must run before

    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    microservice._make_rest_metrics_server = lambda *_: None  # noqa: SLF001 - seldon-core has no option for this
    sys.argv = ["seldon-core-microservice", *settings.arguments]
    microservice.main()


if __name__ == "__main__":
    launch(LaunchSettings(**json.loads(sys.argv[1])))
