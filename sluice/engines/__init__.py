"""Where a pipeline runs: `local` here; Argo and KFP take the same calls.

Belongs here: starting, watching and ending a run, compiling a project's pipeline for an engine, the records that a run
leaves. Does not belong here: what a step does (`steps`), the meaning of a pipeline (`ir`, `argo`). Of the tool's packages
this one alone imports `kfp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Engine(Protocol):
    """What every engine can do with a run; a run is known by its folder of records."""

    def submit(self, pipeline: str, arguments: Mapping[str, Any]) -> Path:
        """Start a pipeline of the project by name; gives the run's folder."""

    def watch(self, run: Path) -> Iterator[dict[str, Any]]:
        """The run's events as they come, until it has ended."""

    def cancel(self, run: Path) -> None:
        """End the run and every process of it."""
