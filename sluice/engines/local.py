"""The local engine: kfp.local in a child session, its output in the run's log, its steps' events in the run's folder."""

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
GRACE_SECONDS = 5.0


@dataclass(slots=True)
class _Session:
    """A started child and the write end of its lifeline."""

    process: subprocess.Popen[bytes]
    lifeline: int


@dataclass(slots=True)
class LocalEngine:
    """Runs pipelines of one project on this machine; holds the sessions that it started."""

    project: Project
    _sessions: dict[Path, _Session] = field(default_factory=dict)

    def submit(self, pipeline: str, arguments: Mapping[str, Any]) -> Path:
        """Start a pipeline.

        Raises:
            ConfigurationError: sluice.toml names no such pipeline.
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
        """Yield the run's events as they come; after the last one run.json is whole.

        Leaving the iterator early (ctrl-C, an exception, `close`) cancels the run.
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
        """End the session's whole process group: SIGTERM, then SIGKILL after a grace; then write the run's record."""
        session = self._sessions.get(run)
        if session is None:
            return
        _end_group(session.process)
        self._close(run)
        assemble_run(run, succeeded=False, interrupted=True)

    def _close(self, run: Path) -> None:
        os.close(self._sessions.pop(run).lifeline)


def check_pipeline(project: Project, pipeline: str) -> None:
    """Make sure that sluice.toml names this pipeline.

    Raises:
        ConfigurationError: It does not; the message names those that it has.
    """
    known = project.settings.pipelines
    if pipeline not in known:
        raise ConfigurationError(
            f"sluice.toml names no pipeline {pipeline!r}, only {', '.join(sorted(known)) or 'none at all'}",
            hint="Choose one of them, or add it under [pipelines].",
        )


def session_environment(project: Project, folder: Path) -> dict[str, str]:
    """The environment of a run: its project and folder, the environment's own python3 first, bytecode written once."""
    inherited = {key: value for key, value in os.environ.items() if key not in {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}}
    return inherited | {
        ROOT_VARIABLE: str(project.root),
        RUN_FOLDER_VARIABLE: str(folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(project.root),
        "PYTHONUNBUFFERED": "1",
        # A fit on a small shared machine is up to a hundred times slower with more threads than cores.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "GX_ANALYTICS_ENABLED": "false",
    }


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process group that this process started, and wait until its leader is gone."""
    for sent, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            break
    # The leader may be gone while a step still runs: the group outlives it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
