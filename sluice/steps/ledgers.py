"""The gate's ledger of a project: where it is, which rule it holds, and which of its links the champion proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.gate.ledger import Ledger
from sluice.gate.ledger_documents import GateRule
from sluice.gate.score_files import ScoreFiles
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.platforms.selection import open_journal

if TYPE_CHECKING:
    from sluice.project.projects import Project

LEDGER_FOLDER = "ledger"


def open_ledger(project: Project) -> Ledger:
    """Return the ledger of a project. Nothing is read yet."""
    return Ledger(project.state / LEDGER_FOLDER)


def open_scores(project: Project) -> ScoreFiles:
    """Return the stored scores of a project's releases on holdouts."""
    return ScoreFiles(project.state / LEDGER_FOLDER / "scores")


def read_rule(project: Project) -> GateRule:
    """Return the rule that sluice.toml sets for the gate."""
    settings = project.settings.gate
    return GateRule(
        margin=settings.margin, alpha=settings.alpha, budget=settings.budget, gate_fraction=project.settings.data.gate_fraction
    )


def read_heads(project: Project) -> tuple[str, ...]:
    """Return the links that the ledger must contain: those of the question that promoted the champion.

    The rollout journal names one, and the champion's manifest another one. They are equal unless somebody changed one of them.
    Releases of earlier versions name none.
    """
    history = open_journal(project).read().history
    if not history:
        return ()
    champion = history[-1]
    named = [champion.ledger_head]
    store = ReleaseStore(project.state / "releases")
    named += [
        str((release.manifest.get("gate") or {}).get("ledger_head") or "")
        for release in store.list()
        if release.digest == champion.release
    ]
    return tuple(dict.fromkeys(link for link in named if link))
