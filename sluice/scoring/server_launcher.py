"""What the process of a server runs: ``python launcher.py SETTINGS``, and from there a Seldon microservice.

It calls `seldon_core.microservice.main`, which is all that the command ``seldon-core-microservice`` does, and adds what a
server on a laptop needs and that command has no option for:

- The socket is inherited, bound to the loopback interface: seldon-core 1.17.1 binds every interface, and its gunicorn has
known request
  smuggling. It is handed over as systemd does it (``LISTEN_FDS``), which gunicorn knows; so a port cannot be lost on the way
  either.
- No process of it outlives the one that started it, even after SIGKILL, nor the one that it forked from. Each watches a pipe
whose other
  end the starter holds, and its own parent. The kernel's way (PR_SET_PDEATHSIG) is not used, because it fires when the thread
  that started the server ends, and is Linux's alone.
- Only the server's own package and `sluice` are importable from the project. A model that needs a package that its release
does not carry
  fails here as it would in a cluster, instead of finding the file in the working tree.
- Seldon's metrics server, on a port of all interfaces again, is left out: the proxy in front counts.

Standard library only.
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
FIRST_FREE = 64
"""Descriptors from here on are nobody's when a process starts."""

LOOK_SECONDS = 0.5
"""How often a process looks whether its parent is still there; a closed pipe is noticed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What the starter tells the launcher, as JSON in its one argument.

    Attributes:
        socket: Descriptor of the bound socket.
        lifeline: Descriptor of the reading end of the pipe that closes when the starter ends.
        packages: Top-level package → folder that holds it.
        arguments: Of ``seldon-core-microservice``.
    """

    socket: int
    lifeline: int
    packages: Mapping[str, str]
    arguments: Sequence[str]


class _OnlyPackages(MetaPathFinder):
    """Finds the named packages where they are said to be, and nothing else there."""

    def __init__(self, packages: Mapping[str, str]) -> None:
        self.packages = packages

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None or fullname not in self.packages:
            return None
        return PathFinder.find_spec(fullname, [self.packages[fullname]], target)


class _Watch:
    """Ends the whole process group when the starter, or the process that this one was forked from, is gone."""

    def __init__(self, lifeline: int) -> None:
        self.lifeline = lifeline
        self.forker = 0

    def start(self, parent: int) -> None:
        threading.Thread(target=self._run, args=(parent,), name="lifeline", daemon=True).start()

    def before_fork(self) -> None:
        self.forker = os.getpid()

    def after_fork_in_child(self) -> None:
        self.start(self.forker)

    def _run(self, parent: int) -> None:
        while os.getppid() == parent:
            if select.select([self.lifeline], [], [], LOOK_SECONDS)[0] and not os.read(self.lifeline, 1):
                break
        os.killpg(0, signal.SIGKILL)


def launch(settings: Launch) -> None:
    """Become the microservice; does not return before it ends."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # the watch ends a whole group, and it must be this one
    # Both away from 3 first, since either may have come as 3.
    lifeline, inherited = (fcntl.fcntl(number, fcntl.F_DUPFD, FIRST_FREE) for number in (settings.lifeline, settings.socket))
    os.closerange(FIRST_SYSTEMD_SOCKET, FIRST_FREE)
    os.dup2(inherited, FIRST_SYSTEMD_SOCKET)
    os.close(inherited)
    watch = _Watch(lifeline)
    watch.start(os.getppid())
    os.register_at_fork(before=watch.before_fork, after_in_child=watch.after_fork_in_child)
    sys.meta_path.insert(0, _OnlyPackages(settings.packages))

    from seldon_core import microservice  # noqa: PLC0415 - the lifeline must be held before a second of imports

    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    microservice._make_rest_metrics_server = lambda *_: None  # noqa: SLF001 - there is no option for it
    sys.argv = ["seldon-core-microservice", *settings.arguments]
    microservice.main()


if __name__ == "__main__":
    launch(Launch(**json.loads(sys.argv[1])))
