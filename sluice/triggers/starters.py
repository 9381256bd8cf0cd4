"""Start a retraining on the project's engine. This is the only module of the triggers that knows the engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sluice.engines.selection import open_engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.project.projects import Project


class RetrainingStarter(Protocol):
    """What the services need of an engine."""

    def submit(self, pipeline: str, arguments: Mapping[str, Any], *, key: str = "") -> str:
        """Start a run and return its id. With a key that was used before, start nothing and return the id of that run.

        Raises:
            SluiceError: The run could not be started.
        """


def open_starter(project: Project, engine: str) -> RetrainingStarter:
    """Return what starts runs on an engine.

    On Argo, the pipeline's WorkflowTemplate must be there already, because the account of a service may only create Workflows.
    `sluice submit` and `sluice schedule apply` bring it there.

    Args:
        project: The project.
        engine: Name of the engine; empty for the default one of the project.

    Raises:
        UsageError: There is no engine of this name.
        ServiceError: There are no credentials for the engine's server.
    """
    return open_engine(project, engine, applies=False)
