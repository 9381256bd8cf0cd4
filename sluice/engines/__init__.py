"""The engines that run a pipeline. `local` runs it on this machine.

An engine for Argo or KFP would have the same methods. Today Sluice only compiles pipelines for them.

What belongs here: starting, watching and ending a run, compiling a pipeline of the project for an engine, and the records of a
run. What does not belong here: what a step does (`sluice.steps`), and what a pipeline means (`sluice.ir`, `sluice.argo`). No
other package of Sluice imports `kfp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Engine(Protocol):
    """The methods that every engine has. The folder with a run's records identifies the run."""

    def submit(self, pipeline: str, arguments: Mapping[str, Any]) -> Path:
        """Start a pipeline of the project by its name, and return the run's folder."""

    def watch(self, run: Path) -> Iterator[dict[str, Any]]:
        """Yield the events of the run as they come, until the run has ended."""

    def cancel(self, run: Path) -> None:
        """End the run and all of its processes."""
