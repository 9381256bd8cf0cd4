from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]


def run(folder: Path, code: str, *, before: str = "", path: str = "") -> subprocess.CompletedProcess[str]:
    lines = [f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})", before, "from pathlib import Path"]
    lines += [
        "from sluice.scoring.verified_imports import put_layer_first_on_path",
        "from sluice.release.model_layer import layer_digest, read_verified_files",
        f"layer = Path({str(folder)!r})",
        "put_layer_first_on_path(layer, read_verified_files(layer, layer_digest(layer), 'code/'))",
        code,
    ]
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "layer" / "code" / "goods" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("NAME = 'release'\n")
    (package / "__init__.py").write_text("from goods import NAME\n")
    (package / "deep.py").write_text("from . import NAME\nVALUE = NAME + ' deep'\n")
    return tmp_path / "layer"


def test_the_releases_own_code_comes_first(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tree" / "goods").mkdir(parents=True)
    (tmp_path / "tree" / "goods" / "__init__.py").write_text("NAME = 'working tree'\n")
    done = run(folder, "import goods.inner.deep as m; print(m.VALUE)", path=str(tmp_path / "tree"))
    assert done.stdout == "release deep\n"


def test_no_bytecode_is_written(folder: Path) -> None:
    assert run(folder, "import goods.inner.deep").returncode == 0
    assert not list(folder.rglob("*.pyc"))


def test_planted_bytecode_is_not_run(folder: Path) -> None:
    module = folder / "code" / "goods" / "inner" / "deep.py"
    honest = module.read_bytes()
    module.write_text("VALUE = 'planted'\n")
    py_compile.compile(str(module), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    module.write_bytes(honest)
    assert list(folder.rglob("*.pyc"))
    plain = subprocess.run(
        [sys.executable, "-c", "import goods.inner.deep as m; print(m.VALUE)"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(folder / "code")},
    )
    assert plain.stdout == "planted\n"  # Python's own behaviour
    assert run(folder, "import goods.inner.deep as m; print(m.VALUE)").stdout == "release deep\n"


def test_code_from_two_places_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tree" / "goods").mkdir(parents=True)
    (tmp_path / "tree" / "goods" / "__init__.py").write_text("")
    done = run(folder, "", before="import goods", path=str(tmp_path / "tree"))
    assert "ImportError: package 'goods' was imported from" in done.stderr


def test_other_imports_are_unchanged(folder: Path) -> None:
    assert run(folder, "import sqlite3, joblib, sluice.project.projects; print('fine')").stdout == "fine\n"


def test_a_layer_without_code_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    assert run(tmp_path / "layer", "print('fine')").stdout == "fine\n"


def test_a_file_that_is_replaced_after_the_verification_is_not_run(folder: Path) -> None:
    replace = f"Path({str(folder / 'code' / 'goods' / 'inner' / 'deep.py')!r}).write_text('VALUE = 1 / 0')"
    assert run(folder, f"{replace}\nimport goods.inner.deep as m; print(m.VALUE)").stdout == "release deep\n"


def test_a_file_that_is_added_after_the_verification_is_not_run(folder: Path) -> None:
    add = f"Path({str(folder / 'code' / 'goods' / 'new.py')!r}).write_text('print(1)')"
    done = run(folder, f"{add}\nimport goods.new")
    assert done.stdout == ""
    assert "new.py was not in the release when it was verified" in done.stderr
