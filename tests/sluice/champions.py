"""Make a release the champion, as the last step of a rollout does."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sluice.data.locations import locate_snapshot
from sluice.data.snapshots import pin_snapshot
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.decisions.states import ChampionTerm
from sluice.rollout.platforms.selection import open_journal

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project


def make_champion(project: Project, release: str, *, ledger_head: str = "") -> None:
    """Write into the journal that a release of the store is the champion from now on."""
    term = ChampionTerm(release=release, by="ann", at=1.0, ledger_head=ledger_head)
    open_journal(project).update(
        lambda journal: dataclasses.replace(journal, history=(*journal.history, term), weights={release: 100})
    )


def make_first_champion(project: Project, layer: Path) -> str:
    """Store a layer, pin the training data, make the release the champion, and return its digest."""
    digest = ReleaseStore(project.state / "releases").add(layer).digest
    pin_snapshot(locate_snapshot(project), project.state / "snapshots")
    make_champion(project, digest)
    return digest
