"""A report of runs describes the releases that these runs packaged, and knows the names of the others."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from release_fixtures import layer, layer_copy, make_layer, trained

from sluice.engines.local.runs import read_run, start_record, write_run
from sluice.engines.run_reports import report_runs
from sluice.project.projects import read_project
from sluice.release.store.releases import ReleaseStore
from sluice.report.renderers.markdown import render_markdown
from sluice.report.summary import name_releases
from sluice.steps.packaging import describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from release_project import Trained

__all__ = ["layer", "layer_copy", "make_layer", "trained"]


def test_a_report_describes_the_release_that_its_run_packaged(
    trained: Trained, make_layer: Callable[[int], Path], tmp_path: Path
) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".sluice")
    project = read_project(shutil.copytree(trained.project.root, tmp_path / "project", ignore=ignored))
    store = ReleaseStore(project.state / "releases")
    releases = [store.add(make_layer(number)) for number in (1, 2)]
    packaged, kept = start_record(project, "release", {})[0], start_record(project, "drift", {})[0]
    for folder, made in ((packaged, {"release": describe(releases[0])}), (kept, {})):
        write_run(folder, read_run(folder) | {"outcome": "kept", "ended": 1.0} | made)
    report = report_runs(project, [packaged.name])
    text = render_markdown(report)
    assert "**Release 1**" in text
    assert "**Release 2**" not in text
    assert name_releases(report)[releases[1].digest] == "release 2"
    assert "What each release was made from" not in render_markdown(report_runs(project, [kept.name]))
