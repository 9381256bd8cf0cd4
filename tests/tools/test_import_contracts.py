"""import-linter refuses what the contracts of `pyproject.toml` forbid: shown on a copy of the tree with one import too many."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.structure import find_packages, read_files

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"


@pytest.fixture(scope="module")
def copied_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of all packages, without the tests."""
    root = tmp_path_factory.mktemp("tree")
    files = read_files(ROOT)
    packages = find_packages(files)
    for file in files:
        if file.parts[0] in packages:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, root / file)
    shutil.copyfile(ROOT / "pyproject.toml", root / "pyproject.toml")
    return root


def lint_with(root: Path, file: str, text: str) -> tuple[int, str]:
    """Append `text` to a file of the copy, run import-linter there, and restore the file.

    Returns:
        Exit code and output.
    """
    path = root / file
    before = path.read_text(encoding="utf-8") if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before or ''}\n{text}\n", encoding="utf-8")
    try:
        command = [str(LINT_IMPORTS), "--no-cache", "--no-logo"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env={"COLUMNS": "200"})
    finally:
        if before is None:
            shutil.rmtree(path.parent)
        else:
            path.write_text(before, encoding="utf-8")
    return done.returncode, done.stdout


def test_the_tree_keeps_its_contracts(copied_tree: Path) -> None:
    code, output = lint_with(copied_tree, "sluice/statistics/__init__.py", "")
    assert code == 0, output
    assert " 0 broken" in output


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("sluice/statistics/__init__.py", "import sluice.demo", "sluice.statistics is not allowed to import sluice.demo"),
        ("sluice/demo/__init__.py", "import sluice.cli", "sluice.demo is not allowed to import sluice.cli"),
        ("sluice/forgotten/__init__.py", "", "- sluice.forgotten"),
        (
            "sluice/gate/decision.py",
            "import sluice.gate.ledger",
            "sluice.gate.decision is not allowed to import sluice.gate.ledger",
        ),
        ("components/__init__.py", "import pipelines.ci", "components is not allowed to import pipelines"),
        ("sluice/errors.py", "import churn.data", "sluice is not allowed to import churn"),
        ("churn/model.py", "import benchmarks.plain", "churn is not allowed to import benchmarks"),
        ("serving/model_server.py", "import tools.structure", "serving is not allowed to import tools"),
        ("churn/model.py", "import tests.conftest", "churn is not allowed to import tests"),
    ],
)
def test_a_forbidden_import_breaks_a_contract(copied_tree: Path, file: str, text: str, message: str) -> None:
    code, output = lint_with(copied_tree, file, text)
    assert code == 1
    assert message in output
