"""A condemned release does not come back as another release of the same model."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from gate_project import GateProject

from sluice.errors import RefusedError
from sluice.rollout.decisions.states import Condemnation
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests.admission import check_not_condemned

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.project.projects import Project


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GateProject:
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path))
    project = GateProject(tmp_path)
    project.promote(project.ask(project.train("champion", ("b",))))
    return project


def condemn(project: Project, release: str) -> None:
    condemned = (Condemnation(release=release, at=1_800_000_000.0, reason="e-value 120 reached 100"),)
    open_journal(project).update(lambda journal: dataclasses.replace(journal, condemned=condemned))


def test_the_same_model_in_another_release_is_condemned_too(toy: GateProject) -> None:
    first = toy.release(toy.ask(toy.train("better", ("a", "b"))))
    project = toy.read()
    condemn(project, first)
    again = toy.train("better again", ("a", "b"))
    assert again.read_bytes() == (toy.root / "better").read_bytes()
    answer = toy.ask(again)
    written = toy.root / "better again.decision"
    written.write_text(written.read_text().replace("{", '{"note": "asked again", ', 1))  # another manifest
    second = toy.release(answer)
    assert second != first
    with pytest.raises(RefusedError, match=f"release {first[:19]} is the same model, and its canary failed"):
        check_not_condemned(project, open_journal(project).read(), second)
    check_not_condemned(project, open_journal(project).read(), second, "the disk was full")


def test_another_model_or_other_code_is_not_condemned(toy: GateProject) -> None:
    condemn(toy.read(), toy.release(toy.ask(toy.train("better", ("a", "b")))))
    other = toy.release(toy.ask(toy.train("other", ("a",))))
    toy.write_features(".clip(-9, 9)")
    changed = toy.release(toy.ask(toy.train("changed", ("a", "b"))))
    project = toy.read()
    for release in (other, changed):
        check_not_condemned(project, open_journal(project).read(), release)
