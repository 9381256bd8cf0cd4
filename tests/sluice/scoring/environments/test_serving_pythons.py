"""Which environment of this machine serves a release."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sluice.project.projects import Project, read_project
from sluice.release.golden_rows import read_golden_rows
from sluice.release.model_layer import layer_digest
from sluice.scoring.environments.serving_pythons import choose_python
from sluice.scoring.server_process import start_server

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS = """\
[project]
name = "parcels"
[data]
snapshot = "a"
holdout = "b"
load = "a:b"
label = "a"
id = "a"
[model]
build = "a:b"
"""

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[3]
EARLIER = HERE / "earlier_release"
FITTED = json.loads((EARLIER / "manifest.json").read_text())["environment"]["fingerprint"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "sluice.toml").write_text(SETTINGS)
    return read_project(tmp_path)


@pytest.fixture
def make_environment(tmp_path: Path) -> Callable[[str, str], Path]:
    """Make an environment whose interpreter runs this line of shell, and return the interpreter."""

    def make(name: str, line: str) -> Path:
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        (tmp_path / name / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
        python.write_text(f"#!/bin/sh\n{line}\n")
        python.chmod(0o755)
        return python

    return make


def say(numpy: str) -> str:
    """Return the line of an environment like that of the earlier release, with this version of NumPy."""
    described: dict[str, Any] = FITTED | {"libraries": FITTED["libraries"] | {"numpy": numpy, "flask": "3.1.3"}, "files": {}}
    return f"echo '{json.dumps(described)}'"


def test_the_only_environment_is_taken_without_asking_it(
    project: Project, make_environment: Callable[[str, str], Path], tmp_path: Path
) -> None:
    present = make_environment(".venv-serving", f"touch '{tmp_path}/asked'")
    assert choose_python(project, EARLIER) == present
    assert not (tmp_path / "asked").exists()


def test_a_release_gets_the_environment_with_its_libraries(
    project: Project, make_environment: Callable[[str, str], Path]
) -> None:
    make_environment(".venv-serving", say("2.4.6"))
    make_environment(".venv-serving-3", "exit 1")
    make_environment(".venv-serving-2", "echo no JSON")
    earlier = make_environment(".venv-serving-1", say("1.26.4"))
    assert choose_python(project, EARLIER) == earlier


def test_the_present_environment_is_preferred_and_the_last_resort(
    project: Project, make_environment: Callable[[str, str], Path], tmp_path: Path
) -> None:
    present = make_environment(".venv-serving", say("1.26.4"))
    make_environment(".venv-serving-1", say("1.26.4"))
    assert choose_python(project, EARLIER) == present
    present.write_text(f"#!/bin/sh\n{say('2.4.6')}\n")
    os.utime(present.parents[1] / "lib" / "python3.11" / "site-packages", (1, 1))  # as an installation changes it
    (tmp_path / ".venv-serving-1" / "bin" / "python").unlink()
    make_environment(".venv-serving-2", say("2.0.0"))
    assert choose_python(project, EARLIER) == present


@pytest.mark.parametrize("manifest", ["", "[]", '{"environment": {"fingerprint": {"libraries": []}}}'])
def test_a_manifest_that_cannot_be_read_is_left_to_the_server(
    project: Project, make_environment: Callable[[str, str], Path], tmp_path: Path, manifest: str
) -> None:
    present = make_environment(".venv-serving", say("2.4.6"))
    make_environment(".venv-serving-1", say("1.26.4"))
    (tmp_path / "manifest.json").write_text(manifest)
    assert choose_python(project, tmp_path) == present


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the earlier release was fitted with Python 3.11")
def test_a_release_that_was_fitted_with_earlier_libraries_is_still_served(tmp_path: Path) -> None:
    """The release and its environment are real ones, from before NumPy 2. The server's code is the present one."""
    environment, uv = tmp_path / ".venv-serving-earlier", REPOSITORY / ".tools/bin/uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    lock = HERE / "earlier_lock.txt"
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", environment, lock], check=True, env=os.environ | _uv_index())
    (tmp_path / ".venv-serving").symlink_to(REPOSITORY / ".venv-serving")
    (tmp_path / "sluice.toml").write_text(SETTINGS)
    shutil.copytree(REPOSITORY / "serving", tmp_path / "serving", ignore=shutil.ignore_patterns("__pycache__"))
    folder = shutil.copytree(EARLIER, tmp_path / "release")
    golden = read_golden_rows(folder)
    with start_server(read_project(tmp_path), folder, layer_digest(folder), log=tmp_path / "log") as server:
        found = server.predict(golden.frame())
    assert np.abs(found - golden.expected).max() <= 1e-12
    assert "golden rows" in (tmp_path / "log").read_text()


def _uv_index() -> dict[str, str]:
    """Return the variable that tells uv the index of pip, as the Makefile does."""
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
    return {"UV_DEFAULT_INDEX": index} if index else {}
