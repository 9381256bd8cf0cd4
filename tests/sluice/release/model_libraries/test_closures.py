"""The fingerprint of a release names every library that the model's process can load."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from sluice.errors import RefusedError
from sluice.project.projects import Project, read_project
from sluice.release.fingerprint import ACCELERATORS, LIBRARIES, compare_fingerprints
from sluice.release.model_libraries.closures import (
    compare_with_lock,
    complete_requirements,
    find_model_libraries,
    parse_locked_versions,
    read_training_fingerprint,
)
from sluice.steps.before_training.environments import check_serving_lock

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = """\
[project]
name = "tiny"
[data]
snapshot = "a"
holdout = "b"
load = "a:b"
label = "a"
id = "a"
[model]
build = "model:build"
[serving]
lock = "lock.txt"
"""

LOCKED = ("cloudpickle", "h11", "httpcore", "httpx", "kubernetes", "pyyaml", "joblib", "numpy")
"""What the serving environment of the project below contains. The tests' environment has all of it too."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "sluice.toml").write_text(SETTINGS)
    (tmp_path / "model.py").write_text("def build():\n    import httpx, matplotlib\n")
    (tmp_path / "lock.txt").write_text("".join(f"{name}=={version(name)} \\\n    --hash=sha256:0\n" for name in LOCKED))
    return read_project(tmp_path)


def test_a_library_that_the_projects_code_imports_is_named_with_what_it_requires(project: Project) -> None:
    found = find_model_libraries(project)
    assert found == sorted({*LIBRARIES, "cloudpickle", "h11", "httpcore", "httpx"})  # joblib requires cloudpickle
    fingerprint = read_training_fingerprint(project)
    assert fingerprint["libraries"].keys() == {*found, *ACCELERATORS}
    assert fingerprint["libraries"]["httpx"] == version("httpx")
    assert fingerprint["files"].keys() == {name for name, held in fingerprint["libraries"].items() if held != "absent"}


def test_another_version_or_another_build_of_such_a_library_is_a_difference(project: Project) -> None:
    fitted = read_training_fingerprint(project)
    served = fitted | {"libraries": fitted["libraries"] | {"httpx": "0.1", "flask": "3.1.3"}}
    assert compare_fingerprints(fitted, served) == [f"httpx is 0.1, but the model was fitted with {version('httpx')}"]
    rebuilt = fitted | {"files": fitted["files"] | {"httpx": "sha256:other"}}
    (difference,) = compare_fingerprints(fitted, rebuilt)
    assert difference == "httpx {0} has other files than the httpx {0} that the model was fitted with".format(version("httpx"))


def test_another_version_than_in_the_serving_lock_is_refused_before_the_training(project: Project) -> None:
    check_serving_lock(project)
    lock = project.path("lock.txt")
    lock.write_text(lock.read_text().replace(f"httpx=={version('httpx')}", "httpx==0.1"))
    with pytest.raises(RefusedError, match=f"httpx is {version('httpx')}, but the serving lock has 0.1") as refused:
        check_serving_lock(project)
    assert "serving/model-libraries.txt" in refused.value.hint
    lock.write_text(lock.read_text().replace(f"kubernetes=={version('kubernetes')}", "kubernetes==0.1"))  # no model loads it
    lock.write_text(lock.read_text().replace("httpx==0.1", f"httpx=={version('httpx')}"))
    check_serving_lock(project)


def test_a_missing_lock_has_no_versions(project: Project) -> None:
    project.path("lock.txt").unlink()
    assert find_model_libraries(project) == sorted(LIBRARIES)
    check_serving_lock(project)


def test_only_the_lines_for_this_python_count() -> None:
    text = (
        "A_b==1 ; python_full_version < '3.5' \\\n    --hash=sha256:0\na.b==2 ; python_full_version >= '3.5' \\\n# c==3\nd==4\n"
    )
    assert parse_locked_versions(text) == {"a-b": "2", "d": "4"}
    assert compare_with_lock({"a-b": "1", "c": "1", "d": "4"}, {"a-b": "2", "d": "4"}) == ["a-b is 1, but the serving lock has 2"]


def test_requirements_of_other_systems_and_of_extras_do_not_count() -> None:
    found = complete_requirements(["scikit-learn", "no-such-library"])
    assert {"scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl", "no-such-library"} <= found
    assert "pytest" not in found
    assert ("colorama" in complete_requirements(["click"])) is (sys.platform == "win32")
