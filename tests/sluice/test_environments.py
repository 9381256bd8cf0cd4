"""The tool's environment and the serving environment have the same versions of everything that a model depends on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVING = ROOT / ".venv-serving" / "bin" / "python"
LIBRARIES = ("numpy", "scipy", "pandas", "scikit-learn", "joblib", "threadpoolctl")
SCRIPT = (
    "import json, sys; from importlib.metadata import version;"
    f"print(json.dumps({{'python': sys.version, **{{name: version(name) for name in {LIBRARIES!r}}}}}))"
)


def read_versions(python: str | Path) -> dict[str, str]:
    return dict(json.loads(subprocess.run([str(python), "-c", SCRIPT], capture_output=True, text=True, check=True).stdout))


def test_both_environments_have_the_same_python_and_model_libraries() -> None:
    assert read_versions(sys.executable) == read_versions(SERVING)


@pytest.mark.parametrize("lock", ["tool", "dev", "serving"])
def test_locks_pin_the_model_libraries_as_declared(lock: str) -> None:
    declared = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "serving" / "model-libraries.txt").read_text(), re.MULTILINE))
    locked = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "locks" / f"{lock}.txt").read_text(), re.MULTILINE))
    assert sorted(declared) == sorted(LIBRARIES)
    assert {name: locked[name] for name in LIBRARIES} == declared


def test_locks_name_no_registry_and_have_a_hash_for_everything() -> None:
    for lock in (ROOT / "locks").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text
        entries = re.findall(r"^[\w.-]+==.*(?:\n    .*)*", text, re.MULTILINE)
        assert len(entries) > 40
        assert all("--hash=sha256:" in entry for entry in entries)


def test_environments_have_compiled_bytecode() -> None:
    for folder in (ROOT / ".venv", ROOT / ".venv-serving"):
        package = next(folder.glob("lib/python*/site-packages/pandas"))
        assert list((package / "__pycache__").glob("__init__.*.pyc")), f"{package} has no compiled bytecode"
