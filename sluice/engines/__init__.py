"""The engines that run a pipeline: `local` on this machine, `argo` and `kfp` in a cluster. All of them implement `Engine`.

What belongs here: starting, watching, ending and scheduling a run, compiling a pipeline of the project for an engine, and the
records of runs. What does not belong here: what a step does (`sluice.steps`), and what a pipeline means (`sluice.ir`,
`sluice.argo`). No other package of Sluice imports `kfp`. `sluice.engines.selection` chooses the engine of a project.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from sluice.report.results import RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class GateNumbers:
    """What the gate said with its answer. Numbers that it keeps secret, or that it did not say, are None.

    Attributes:
        difference: The challenger's AUC minus the champion's; only after a promotion.
        low: Lower end of the interval of the difference.
        high: Upper end of the interval of the difference.
        margin: The difference must be above it.
        rows: Number of gate rows.
        uses: The number of this question to the holdout.
        budget: How many questions the holdout may be asked.
        first: Whether there was no champion to compare with.
    """

    difference: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    rows: int | None = None
    uses: int | None = None
    budget: int | None = None
    first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run of any engine, as a table shows it.

    Attributes:
        id: The id by which the engine knows the run.
        engine: The engine.
        pipeline: Name of the pipeline under ``[pipelines]``, or the engine's name of it if the project has no such pipeline.
        outcome: A key of `sluice.engines.outcomes.EXIT_CODES`, or ``running``, ``waiting``, ``failed``.
        release: The release that the run packaged: its number or the first digits of its digest; empty if there is none.
        gate: What the gate answered: ``promote``, ``keep``, ``override``; empty if it was not asked.
        numbers: The numbers that the gate said with its answer; None if it was not asked, or if they are unknown.
        started: Start of the run in seconds since the epoch; None if it has not started.
        seconds: Duration so far, or in all if the run has ended; None if it has not started.
        url: Page of the run in the engine's user interface; empty if it has none.
    """

    id: str
    engine: str
    pipeline: str
    outcome: str
    release: str = ""
    gate: str = ""
    numbers: GateNumbers | None = None
    started: float | None = None
    seconds: float | None = None
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStatus:
    """One step of a run.

    Attributes:
        id: The engine's id of the step.
        name: The name that people see, and that `Engine.logs` takes.
        depth: Number of enclosing parts of the pipeline, such as conditions and loops.
        outcome: ``pending``, ``running``, ``waiting``, ``pass``, ``fail``, ``skipped`` or ``interrupted``.
        detail: What the step or the engine said about it; one line.
        started: Seconds since the epoch; None if it has not started.
        ended: Seconds since the epoch; None if it has not ended.
        is_group: Whether it is a part of the pipeline that contains steps, and no step itself.
        cached: Whether its result is that of an earlier run.
    """

    id: str
    name: str
    depth: int = 0
    outcome: str = "pending"
    detail: str = ""
    started: float | None = None
    ended: float | None = None
    is_group: bool = False
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """A run at one moment, with its steps in the order in which a tree shows them.

    Attributes:
        summary: The run as a whole.
        steps: The steps that are known so far.
        ended: Whether the run has ended.
        reason: Why the run has its outcome, or what it waits for.
        hint: What to do next; empty if there is no advice.
        exit_code: The documented exit code of the outcome; 0 while the run has not ended.
    """

    summary: RunSummary
    steps: tuple[StepStatus, ...] = ()
    ended: bool = False
    reason: str = ""
    hint: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePlan:
    """When an engine starts a pipeline by itself. A project has one schedule.

    Attributes:
        pipeline: Name of the pipeline under ``[pipelines]``.
        cron: Five fields of a cron expression, or a short form such as ``@weekly``.
        timezone: Time zone of the cron expression.
        concurrency: ``Allow``, ``Forbid`` or ``Replace``: what happens while the last run is still running.
        catch_up_seconds: How late a missed run may still start; 0 means that it is not started late.
        arguments: Arguments of each run.
    """

    pipeline: str
    cron: str
    timezone: str = "UTC"
    concurrency: str = "Forbid"
    catch_up_seconds: int = 3600
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleStatus:
    """A schedule as an engine has stored it.

    Attributes:
        id: The engine's id of the schedule.
        engine: The engine.
        pipeline: The pipeline.
        cron: The cron expression.
        timezone: Its time zone.
        paused: Whether it starts no runs.
        last: Start time of its last run in seconds since the epoch; None if it has started none.
        next: Next start time in seconds since the epoch; None if it is paused.
        active: Ids of its runs that have not ended, if the engine tells them.
        missed: What is wrong: start times at which no run started, or the engine's own message; empty if nothing is wrong.
    """

    id: str
    engine: str
    pipeline: str
    cron: str
    timezone: str
    paused: bool
    last: float | None = None
    next: float | None = None
    active: tuple[str, ...] = ()
    missed: str = ""


class Engine(Protocol):
    """The methods that every engine has. A text identifies a run.

    Every method that takes a run raises `UsageError` if the engine gives no run such an id, and asks its server nothing then.
    Every method raises `ServiceError` if the engine's server does not answer or refuses, and `StateError` if the request does not
    fit the run's state. A method that an engine cannot offer raises `UnsupportedError`.
    """

    @property
    def name(self) -> str:
        """``local``, ``argo`` or ``kfp``."""

    @property
    def resume_approves(self) -> bool:
        """Whether `resume` approves the release. If not, it only lets the run go on, and a person approves the rollout."""

    def prepare(self, pipeline: str, *, force: bool = False, dry_run: bool = False) -> str:
        """Bring a pipeline to the engine's server, if it is not there as it is now.

        `submit` does it too, unless it was done before.

        Args:
            pipeline: Name under ``[pipelines]``.
            force: Whether to take over what another tool owns.
            dry_run: Whether only to say what would change.

        Returns:
            One line that says what changed; empty if the engine needs no preparation.
        """

    def submit(self, pipeline: str, arguments: Mapping[str, Any], *, key: str = "") -> str:
        """Start a pipeline of the project by its name, and return the run's id.

        Args:
            pipeline: Name under ``[pipelines]``.
            arguments: Values of the pipeline's parameters, in their types. The defaults stand for parameters that are not given.
            key: If it is not empty, a second submit with the same key starts nothing and returns the id of the first run.

        Raises:
            ConfigurationError: sluice.toml has no pipeline of this name.
            UsageError: The pipeline has no such parameter, or a value cannot be passed as it is.
        """

    def read(self, run: str) -> RunStatus:
        """Return the run as it is now.

        Raises:
            DataError: There is no such run.
        """

    def watch(self, run: str) -> Generator[RunStatus]:
        """Yield the run each time that it has changed, until it has ended."""

    def result(self, run: str) -> RunResult:
        """Return what the steps of a run recorded, as a report shows it. A note says what is missing, and why.

        Raises:
            DataError: There is no such run.
        """

    def logs(self, run: str, step: str = "") -> Iterator[str]:
        """Yield the lines that a step printed; without a step, those of all steps.

        Raises:
            DataError: There is no such run or step, or the log was deleted.
        """

    def cancel(self, run: str) -> None:
        """End the run. Its exit tasks still run, if the engine has any. A run that has ended stays as it is."""

    def retry(self, run: str) -> None:
        """Run a failed run again from the steps that failed. The results of the other steps stay."""

    def resume(self, run: str, *, by: str, why: str = "") -> str:
        """Answer the step that a run waits at, and return the name of this step. `resume_approves` says what that means."""

    def list(self, limit: int = 20) -> tuple[RunSummary, ...]:
        """Return the last runs of the project, newest first."""

    def schedule_apply(self, plan: SchedulePlan) -> str:
        """Create or change the project's schedule, and return ``created``, ``changed`` or ``unchanged``.

        A paused schedule stays paused.
        """

    def schedule_list(self) -> tuple[ScheduleStatus, ...]:
        """Return the project's schedule; empty if there is none."""

    def schedule_pause(self, *, paused: bool) -> str:
        """Stop or continue starting runs, and return ``changed`` or ``unchanged``."""

    def schedule_remove(self) -> str:
        """Delete the project's schedule, and return ``removed`` or ``unchanged``. Whether its runs stay depends on the engine."""
