"""Which acts `sluice demo` plays: the wanted ones, and the promotions that they build on."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.demo.player import needed_acts
from sluice.demo.workspace import apply_edits
from sluice.project.projects import read_project

ROOT = Path(__file__).resolve().parents[3]
PROJECT = read_project(ROOT)
STORY = PROJECT.load_object(str(PROJECT.settings.demo.story), key="demo.story")


@pytest.mark.parametrize(
    ("wanted", "played"),
    [([], [1, 2, 3, 4, 5]), ([1], [1]), ([2], [1, 2]), ([3], [1, 2, 3]), ([4], [4]), ([5], [1, 2, 5]), ([4, 5], [1, 2, 4, 5])],
)
def test_an_act_is_played_together_with_the_acts_that_it_builds_on(wanted: list[int], played: list[int]) -> None:
    assert needed_acts(STORY, wanted) == played


def test_the_edits_of_every_act_apply_after_the_acts_before(tmp_path: Path) -> None:
    for act in STORY.acts:
        for edit in act.edits:
            copy = tmp_path / edit.path
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text((ROOT / edit.path).read_text(encoding="utf-8"), encoding="utf-8")
        apply_edits(tmp_path, act.edits)
