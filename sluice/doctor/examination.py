"""All questions that `sluice doctor` asks for an engine and a platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.doctor.clusters import REQUESTS, check_argo, check_seldon
from sluice.doctor.data import check_data
from sluice.doctor.findings import NOTE
from sluice.doctor.machine import check_machine
from sluice.doctor.objects import check_kfp_accounts, check_settings_for_pods
from sluice.doctor.services import check_kfp, check_registry
from sluice.doctor.trust import check_trust

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
    serving = check_seldon(project) if platform == "seldon" else []
    requests = all(each.subject != REQUESTS or each.outcome != NOTE for each in serving)
    in_pods = engine in {"argo", "kfp"}
    findings = [*check_machine(project, serves_here=not (in_pods and platform == "seldon")), *check_registry(project)]
    findings += [*check_data(project, in_pods=in_pods), *check_trust(project, engine=engine, requests=requests)]
    if in_pods:
        findings.append(check_settings_for_pods(project.settings))
    if engine == "argo":
        findings += check_argo(project)
    if engine == "kfp":
        findings += [*check_kfp(project), *check_kfp_accounts(project)]
    return findings + serving
