"""Which acts are played so that a part can be: its own, and the promotions that it rests on."""

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
def test_a_part_is_played_with_what_it_rests_on(wanted: list[int], played: list[int]) -> None:
    assert needed_acts(STORY, wanted) == played


def test_every_part_finds_its_text_when_the_commits_before_it_are_there(tmp_path: Path) -> None:
    for act in STORY.acts:
        for edit in act.edits:
            copy = tmp_path / edit.path
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text((ROOT / edit.path).read_text(encoding="utf-8"), encoding="utf-8")
        apply_edits(tmp_path, act.edits)
