"""The choice of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.errors import UsageError

if TYPE_CHECKING:
    from sluice.engines import Engine
    from sluice.project.projects import Project

NAMES = ("local", "argo", "kfp")


def open_engine(project: Project, name: str = "", *, applies: bool = True) -> Engine:
    """Return an engine of a project. Nothing is asked of its server yet.

    Args:
        project: The project.
        name: ``local``, ``argo`` or ``kfp``. If it is empty, ``engines.default`` of sluice.toml is used.
        applies: Whether a submit on Argo applies the WorkflowTemplate first. If not, it must be there already.

    Raises:
        UsageError: No engine has this name.
        ServiceError: There are no credentials for the engine's server.
    """
    chosen = name or project.settings.engines.default
    if chosen == "local":
        from sluice.engines.local.engine import LocalEngine  # noqa: PLC0415 - only one of the engines is needed

        return LocalEngine(project)
    if chosen == "argo":
        from sluice.engines.argo.engine import open_argo  # noqa: PLC0415

        return open_argo(project, applies=applies)
    if chosen == "kfp":
        from sluice.engines.kfp.engine import open_kfp  # noqa: PLC0415

        return open_kfp(project)
    raise UsageError(f"there is no engine {chosen!r}", hint=f"Choose one of: {', '.join(NAMES)}.")
