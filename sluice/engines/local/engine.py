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
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.engines.local.keys import locked_key
from sluice.engines.local.run_statuses import describe_run, read_log
from sluice.engines.local.runs import (
    LOG_FILE,
    assemble_run,
    find_run,
    list_runs,
    read_events,
    read_run,
    start_record,
    summarise_steps,
)
from sluice.engines.local.session import LIFELINE_VARIABLE
from sluice.engines.sources import check_pipeline
from sluice.errors import DataError, StateError, UnsupportedError
from sluice.project.roots import ROOT_VARIABLE
from sluice.report import record_reader
from sluice.rollout.requests import approvals
from sluice.steps.records import RUN_FOLDER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from sluice.engines import RunStatus, RunSummary, SchedulePlan, ScheduleStatus
    from sluice.project.projects import Project
    from sluice.report.results import RunResult

NAME = "local"
"""The name of this engine in sluice.toml and in tables."""

POLL_SECONDS = 0.1
"""Pause between two looks at a run's events."""

GRACE_SECONDS = 5.0
"""How long a process group may take to end after each signal."""


@dataclass(slots=True)
class _Session:
    """A child process, the write end of the pipe whose closing ends it (the lifeline), and the thread that records its end.

    While the descriptor `alive` is open here or in the child, other processes know that the run is running.
    """

    process: subprocess.Popen[bytes]
    lifeline: int
    alive: int
    recorder: threading.Thread | None = None
    interrupted: bool = False


@dataclass(slots=True)
class LocalEngine:
    """Run pipelines of one project on this machine, and keep the child processes that were started.

    A run ends when the process that started it ends.
    """

    project: Project
    _sessions: dict[str, _Session] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the engine."""
        return NAME

    @property
    def resume_approves(self) -> bool:
        """Yes: nobody else could approve on this machine."""
        return True

    def folder(self, run: str) -> Path:
        """Return the folder with the records of a run.

        Raises:
            DataError: There is no such run.
        """
        return find_run(self.project, run)

    def prepare(self, pipeline: str, *, force: bool = False, dry_run: bool = False) -> str:
        """Check that the pipeline exists. Nothing else is needed before a local run."""
        del force, dry_run
        check_pipeline(self.project, pipeline)
        return ""

    def submit(self, pipeline: str, arguments: Mapping[str, Any], *, key: str = "") -> str:
        """Start a pipeline. With a key, a lock on a file keeps two processes from starting the same run.

        Raises:
            ConfigurationError: sluice.toml has no pipeline of this name.
        """
        check_pipeline(self.project, pipeline)
        if not key:
            return self._start(pipeline, arguments)
        with locked_key(self.project, key) as known:
            if known.run:
                return known.run
            known.run = self._start(pipeline, arguments)
            return known.run

    def _start(self, pipeline: str, arguments: Mapping[str, Any]) -> str:
        folder, alive = start_record(self.project, pipeline, arguments)
        lifeline_read, lifeline_write = os.pipe()
        command = [
            sys.executable,
            "-m",
            "sluice.engines.local.session",
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
                pass_fds=(lifeline_read, alive),
                start_new_session=True,
            )
        os.close(lifeline_read)
        session = self._sessions[folder.name] = _Session(process, lifeline_write, alive)
        session.recorder = threading.Thread(target=_record_end, args=(session, folder), name=f"end of {folder.name}", daemon=True)
        session.recorder.start()
        return folder.name

    def events(self, run: str) -> Generator[dict[str, Any]]:
        """Yield the events of the run as they come. After the last event run.json is complete.

        The run is cancelled if the caller leaves the iterator early (Ctrl-C, an exception, `close`).
        """
        session, folder = self._sessions[run], self.folder(run)
        seen = 0
        try:
            while True:
                ended = session.process.poll() is not None
                events = read_events(folder)
                yield from events[seen:]
                seen = len(events)
                if ended:
                    break
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.cancel(run)
            raise
        self._close(run)

    def read(self, run: str) -> RunStatus:
        """Return the run as it is now.

        Raises:
            DataError: There is no such run.
        """
        folder = self.folder(run)
        return describe_run(read_run(folder), read_events(folder), now=time.time())

    def result(self, run: str) -> RunResult:
        """Return what the steps recorded in the run's folder."""
        folder = self.folder(run)
        found = record_reader.read_run(folder)
        if found.outcome != "running":
            return found
        known = read_run(folder)  # it knows whether the processes of the run are still there
        return found.model_copy(update={name: known[name] for name in ("outcome", "reason", "ended")})

    def watch(self, run: str) -> Generator[RunStatus]:
        """Yield the run after each event, until it has ended. Leaving the iterator early cancels a run of this process."""
        if run not in self._sessions:
            yield self.read(run)
            return
        with contextlib.closing(self.events(run)) as events:
            for _ in events:
                yield self.read(run)
        yield self.read(run)

    def logs(self, run: str, step: str = "") -> Iterator[str]:
        """Yield the lines of the run's log; with a step, the lines between its start and its end.

        Raises:
            DataError: There is no such run or step.
        """
        folder = self.folder(run)
        if step and step not in {known["name"] for known in summarise_steps(read_events(folder))}:
            known_steps = ", ".join(known["name"] for known in summarise_steps(read_events(folder)))
            raise DataError(f"run {run} has no step {step!r}", hint=f"Its steps are: {known_steps or 'none'}.")
        return read_log(folder, step)

    def cancel(self, run: str) -> None:
        """End all processes of the run, and write its record.

        The process group gets SIGTERM, and SIGKILL if it has not ended after 5 seconds.

        Raises:
            StateError: Another process started the run, and only that process can end it.
        """
        session = self._sessions.get(run)
        if session is None:
            if read_run(self.folder(run)).get("outcome") == "running":
                raise StateError(
                    f"another process started run {run}", hint="End it there with ctrl-C. The run ends with the process."
                )
            return
        session.interrupted = session.process.poll() is None
        _end_group(session.process)
        self._close(run)

    def _close(self, run: str) -> None:
        session = self._sessions.pop(run)
        os.close(session.lifeline)
        if session.recorder is not None:
            session.recorder.join()

    def retry(self, run: str) -> None:
        """Refuse: a local run has no results of single steps that a second run could use.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(
            f"the local engine cannot continue run {run}",
            hint=f"Start it again: `sluice run {read_run(self.folder(run))['pipeline']}`.",
        )

    def resume(self, run: str, *, by: str, why: str = "") -> str:
        """Approve the release that the run waits for.

        Raises:
            StateError: The run waits for no approval.
        """
        folder = self.folder(run)
        if not any(step.outcome == "waiting" and step.name == "approval" for step in self.read(run).steps):
            raise StateError(f"run {run} waits for no approval", hint=f"`sluice logs {run}` shows what it does.")
        release = json.loads((folder / "parts" / "release.json").read_text(encoding="utf-8"))
        approvals.approve(self.project, release["digest"], by=by, note=why)
        return "approval"

    def list(self, limit: int = 20) -> tuple[RunSummary, ...]:
        """Return the last runs, newest first."""
        folders = list(reversed(list_runs(self.project)))[:limit]
        return tuple(describe_run(read_run(folder), [], now=time.time()).summary for folder in folders)

    def schedule_apply(self, plan: SchedulePlan) -> str:
        """Refuse: no process of this machine would start the runs.

        Raises:
            UnsupportedError: Always.
        """
        raise _no_schedules(f"sluice run {plan.pipeline}", plan.cron)

    def schedule_list(self) -> tuple[ScheduleStatus, ...]:
        """Return nothing, because the local engine has no schedules."""
        return ()

    def schedule_pause(self, *, paused: bool) -> str:
        """Refuse.

        Raises:
            UnsupportedError: Always.
        """
        del paused
        raise _no_schedules()

    def schedule_remove(self) -> str:
        """Refuse.

        Raises:
            UnsupportedError: Always.
        """
        raise _no_schedules()


def _no_schedules(command: str = "sluice run", cron: str = "17 4 * * 1") -> UnsupportedError:
    return UnsupportedError(
        "the local engine has no schedules, because no process of it runs between two runs",
        hint=f"Use --engine argo or kfp, or add this line to your crontab: {cron} cd PROJECT && {command}",
    )


def _record_end(session: _Session, folder: Path) -> None:
    """Wait until the child process has ended, and complete the run's record. A thread does it, so that nobody has to watch."""
    code = session.process.wait()
    assemble_run(folder, succeeded=code == 0, interrupted=session.interrupted)
    os.close(session.alive)


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
