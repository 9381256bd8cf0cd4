"""Where KFP's own pipelines lie, and a place to run components behind the launcher."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from launched import Launched

ROOT = Path(__file__).resolve().parents[3]
CONFORMANCE = Path(os.environ.get("SLUICE_CONFORMANCE") or ROOT.parent / "shared" / "conformance")
ABSENT = f"KFP's own pipelines are not at {CONFORMANCE} (SLUICE_CONFORMANCE names another folder)"


def conformance_files() -> list[Path]:
    """KFP's own compiled pipelines, in order; none where they are not here."""
    return sorted((CONFORMANCE / "kfp").rglob("*.yaml"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `kfp_file` is run for each of KFP's own pipelines."""
    if "kfp_file" in metafunc.fixturenames:
        files = conformance_files()
        absent = [pytest.param(None, marks=pytest.mark.skip(reason=ABSENT), id="absent")]
        metafunc.parametrize("kfp_file", [pytest.param(file, id=file.stem) for file in files] or absent)


@pytest.fixture
def kfp_files() -> list[Path]:
    """All of KFP's own pipelines."""
    return conformance_files() or pytest.skip(ABSENT)


@pytest.fixture
def launched(tmp_path: Path) -> Launched:
    return Launched(tmp_path)
