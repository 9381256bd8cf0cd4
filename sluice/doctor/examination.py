"""All questions that `sluice doctor` asks for an engine and a platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.doctor.clusters import check_argo, check_seldon
from sluice.doctor.machine import check_machine
from sluice.doctor.services import check_kfp, check_registry

if TYPE_CHECKING:
    from sluice.doctor.findings import Finding
    from sluice.project.projects import Project


def examine(project: Project, *, engine: str, platform: str) -> list[Finding]:
    """Ask all questions about this machine, the registry, an engine and a platform. A failure never ends the examination.

    Args:
        project: The project.
        engine: ``local``, ``argo`` or ``kfp``.
        platform: ``laptop`` or ``seldon``.
    """
    findings = [*check_machine(project), *check_registry(project)]
    if engine == "argo":
        findings += check_argo(project)
    if engine == "kfp":
        findings += check_kfp(project)
    if platform == "seldon":
        findings += check_seldon(project)
    return findings
