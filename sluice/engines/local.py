"""The local engine. It runs kfp.local in a child process with a session of its own.

The output of the child goes to the run's log, and the events of its steps go to the run's folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.engines.local_session import LIFELINE_VARIABLE
from sluice.engines.runs import LOG_FILE, assemble_run, create_run, read_events
from sluice.errors import ConfigurationError
from sluice.project.roots import ROOT_VARIABLE
from sluice.steps.records import RUN_FOLDER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sluice.project.projects import Project

POLL_SECONDS = 0.1
"""Pause between two looks at a run's events."""

GRACE_SECONDS = 5.0
"""How long a process group may take to end after each signal."""


@dataclass(slots=True)
class _Session:
    """A child process, and the write end of the pipe whose closing ends it (the lifeline)."""

    process: subprocess.Popen[bytes]
    lifeline: int


@dataclass(slots=True)
class LocalEngine:
    """Run pipelines of one project on this machine, and keep the child processes that were started."""

    project: Project
    _sessions: dict[Path, _Session] = field(default_factory=dict)

    def submit(self, pipeline: str, arguments: Mapping[str, Any]) -> Path:
        """Start a pipeline, and return the run's folder.

        Raises:
            ConfigurationError: sluice.toml has no pipeline of this name.
        """
        check_pipeline(self.project, pipeline)
        folder = create_run(self.project, pipeline, arguments)
        lifeline_read, lifeline_write = os.pipe()
        command = [
            sys.executable,
            "-m",
            "sluice.engines.local_session",
            pipeline,
            json.dumps(dict(arguments)),
            str(folder / "artifacts"),
        ]
        with (folder / LOG_FILE).open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self.project.root,
                env=session_environment(self.project, folder) | {LIFELINE_VARIABLE: str(lifeline_read)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lifeline_read,),
                start_new_session=True,
            )
        os.close(lifeline_read)
        self._sessions[folder] = _Session(process, lifeline_write)
        return folder

    def watch(self, run: Path) -> Iterator[dict[str, Any]]:
        """Yield the events of the run as they come. After the last event run.json is complete.

        The run is cancelled if the caller leaves the iterator early (Ctrl-C, an exception, `close`).
        """
        session = self._sessions[run]
        seen = 0
        try:
            while True:
                ended = session.process.poll() is not None
                events = read_events(run)
                yield from events[seen:]
                seen = len(events)
                if ended:
                    break
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.cancel(run)
            raise
        self._close(run)
        assemble_run(run, succeeded=session.process.returncode == 0)

    def cancel(self, run: Path) -> None:
        """End all processes of the run, and write its record.

        The process group gets SIGTERM, and SIGKILL if it has not ended after 5 seconds.
        """
        session = self._sessions.get(run)
        if session is None:
            return
        _end_group(session.process)
        self._close(run)
        assemble_run(run, succeeded=False, interrupted=True)

    def _close(self, run: Path) -> None:
        os.close(self._sessions.pop(run).lifeline)


def check_pipeline(project: Project, pipeline: str) -> None:
    """Make sure that sluice.toml has this pipeline.

    Raises:
        ConfigurationError: It does not. The message names the pipelines that it has.
    """
    known = project.settings.pipelines
    if pipeline not in known:
        raise ConfigurationError(
            f"sluice.toml has no pipeline {pipeline!r}; its pipelines are: {', '.join(sorted(known)) or 'none'}",
            hint="Choose one of them, or add this one under [pipelines].",
        )


def session_environment(project: Project, folder: Path) -> dict[str, str]:
    """Return the environment variables of a run.

    They name the project and the run's folder, put this environment's python3 first on PATH, and let Python write bytecode so
    that the steps do not compile the modules again.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}}
    return inherited | {
        ROOT_VARIABLE: str(project.root),
        RUN_FOLDER_VARIABLE: str(folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(project.root),
        "PYTHONUNBUFFERED": "1",
        # On a small shared machine, fitting a model with more threads than cores is up to a hundred times slower.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "GX_ANALYTICS_ENABLED": "false",
    }


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process group that this process started, and wait until its leader has ended."""
    for signal_number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    # The leader may have ended while a step still runs, because a process group outlives its leader.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
