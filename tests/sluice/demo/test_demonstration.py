"""The demonstration as a user runs it, with the real engine, gate, servers and proxy. It is slow and covers the most."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the example, so that the test does not use the developer's own demonstration folder."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("churn", "components", "pipelines", "serving", "tests", "locks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "sluice.toml", folder)
    return folder


def demo(project: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
    environment["SLUICE_SERVING__PYTHON"] = str(ROOT / ".venv-serving" / "bin" / "python")
    done = subprocess.run(
        [sys.executable, "-m", "sluice", "demo", *arguments, "--output", "json"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_every_act_of_the_story_ends_as_expected(project: Path) -> None:
    code, document = demo(project)
    parts = document["data"]["parts"]
    assert [part["outcome"] for part in parts] == ["promoted", "promoted", "rolled_back", "failed", "restored"], document
    assert code == 0
    for part in parts[1:]:
        assert part["traffic"]["failed_stable"] == 0
        assert part["traffic"]["rate"] > 0
    promoted, rolled_back, stopped, restored = parts[1:]
    assert promoted["traffic"]["failed"] == 0
    # All failed requests failed at the canary.
    assert 0 < rolled_back["traffic"]["failed"] == sum(rolled_back["traffic"]["failed_by_release"].values())
    assert len(rolled_back["traffic"]["failed_by_release"]) == 1
    assert "data" in stopped["detail"]
    assert restored["numbers"]["seconds"] >= 0
    page = (project / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert len(page) < 600_000
    run = json.loads((project / ".sluice/demo/.sluice/runs" / rolled_back["run"] / "run.json").read_text())
    assert run["rollout"]["numbers"]["decision_to_zero_seconds"] >= 0
    assert run["rollout"]["numbers"]["stable_errors"] == 0


@pytest.mark.slow
def test_the_demonstration_leaves_no_process_behind(project: Path) -> None:
    if not Path("/proc").is_dir():
        pytest.skip("the test looks for processes in /proc")
    left = [
        line
        for folder in Path("/proc").glob("[0-9]*")
        if str(project) in (line := (folder / "cmdline").read_bytes().decode(errors="replace") if folder.exists() else "")
    ]
    assert left == []
