"""Fixtures of the Argo tests: KFP's own compiled pipelines, and a way to run components behind the launcher.

The modules that several tests import are in the folder `helpers`. This file puts that folder on `sys.path`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

from launcher_runs import Launched

ROOT = Path(__file__).resolve().parents[3]
CONFORMANCE = Path(os.environ.get("SLUICE_CONFORMANCE") or ROOT.parent / "shared" / "conformance")
ABSENT = f"KFP's own pipelines are not in {CONFORMANCE}; the environment variable SLUICE_CONFORMANCE names another folder"


def conformance_files() -> list[Path]:
    """Return KFP's own compiled pipelines in alphabetical order. The list is empty if the folder does not exist."""
    return sorted((CONFORMANCE / "kfp").rglob("*.yaml"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that has the argument `kfp_file` once for each of KFP's own pipelines."""
    if "kfp_file" in metafunc.fixturenames:
        files = conformance_files()
        absent = [pytest.param(None, marks=pytest.mark.skip(reason=ABSENT), id="absent")]
        metafunc.parametrize("kfp_file", [pytest.param(file, id=file.stem) for file in files] or absent)


@pytest.fixture
def kfp_files() -> list[Path]:
    """Return all of KFP's own pipelines."""
    return conformance_files() or pytest.skip(ABSENT)


@pytest.fixture
def launched(tmp_path: Path) -> Launched:
    """Return an object that runs commands behind the launcher."""
    return Launched(tmp_path)
