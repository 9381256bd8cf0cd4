"""The runs of every engine in one list, and the engine that has a certain run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.engines.arguments import check_run_id, is_run_id
from sluice.engines.selection import NAMES, open_engine
from sluice.errors import DataError, SluiceError

if TYPE_CHECKING:
    from sluice.engines import Engine, RunSummary
    from sluice.project.projects import Project


@dataclass(frozen=True, slots=True)
class RunList:
    """The runs that were found.

    Attributes:
        runs: The runs of all engines, newest first.
        unreachable: Engine → why its runs are not in the list.
    """

    runs: tuple[RunSummary, ...]
    unreachable: dict[str, str]


def list_all_runs(project: Project, engine: str, limit: int) -> RunList:
    """List the runs of one engine or of all. If all are asked, one that cannot be reached is a line in the result and no error.

    Args:
        project: The project.
        engine: Name of the only engine to ask; empty for all of them.
        limit: Number of runs of each engine.

    Raises:
        SluiceError: The only engine to ask cannot be reached.
    """
    runs: list[RunSummary] = []
    unreachable = {}
    for name in (engine,) if engine else NAMES:
        try:
            runs += open_engine(project, name).list(limit)
        except SluiceError as error:
            if engine:
                raise
            unreachable[name] = error.message
    return RunList(tuple(sorted(runs, key=lambda run: run.started or float("inf"), reverse=True)), unreachable)


def find_engine(project: Project, run: str, engine: str) -> Engine:
    """Return the engine that has a run.

    Args:
        project: The project.
        run: Id of the run.
        engine: Name of the engine; if it is empty, the engines are asked one after the other, local first.

    Raises:
        UsageError: No engine gives a run such an id.
        DataError: No engine has the run. The message names the engines that could not be asked.
    """
    check_run_id(run, *((engine,) if engine else NAMES))
    if engine:
        return open_engine(project, engine)
    unreachable = []
    for name in NAMES:
        if not is_run_id(name, run):
            continue
        try:
            found = open_engine(project, name)
            found.read(run)
        except DataError:
            continue
        except SluiceError as error:
            unreachable.append(f"{name} could not be asked ({error.message})")
            continue
        return found
    raise DataError(
        "; ".join([f"no engine has a run {run!r}", *unreachable]), hint="`sluice runs` lists the runs. --engine names the engine."
    )
