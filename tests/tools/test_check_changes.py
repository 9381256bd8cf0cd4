"""`tools/check_changes.py`: which files have changed, and how the tests end in time."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import pytest

from tools import time_limit
from tools.check_changes import choose_tests, describe_tests, find_changed_files, main

ROOT = Path(__file__).resolve().parents[2]


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    for name in ("kept.py", "edited.py", "deleted.py", "moved.py"):
        (tmp_path / name).write_text(f"NAME = '{name}'\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("ignored.py\n", encoding="utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def changed_in(repository: Path, base: str | None = None) -> list[str]:
    return [str(file) for file in find_changed_files(repository, base)]


def test_edited_new_staged_deleted_and_moved_files_have_changed(repository: Path) -> None:
    assert changed_in(repository) == []
    (repository / "edited.py").write_text("NAME = ''\n", encoding="utf-8")
    (repository / "new file.py").write_text("", encoding="utf-8")
    (repository / "ignored.py").write_text("", encoding="utf-8")
    (repository / "deleted.py").unlink()
    git(repository, "mv", "moved.py", "there.py")
    assert changed_in(repository) == ["deleted.py", "edited.py", "moved.py", "new file.py", "there.py"]


def test_with_a_base_the_commits_of_the_branch_count_and_those_of_the_base_do_not(repository: Path) -> None:
    git(repository, "switch", "--quiet", "-c", "branch")
    (repository / "edited.py").write_text("NAME = ''\n", encoding="utf-8")
    git(repository, "commit", "--quiet", "-am", "on the branch")
    git(repository, "switch", "--quiet", "main")
    (repository / "kept.py").write_text("NAME = ''\n", encoding="utf-8")
    git(repository, "commit", "--quiet", "-am", "on main")
    git(repository, "switch", "--quiet", "branch")
    assert changed_in(repository) == []
    assert changed_in(repository, "main") == ["edited.py"]


def test_an_unknown_base_is_an_error_of_usage(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        find_changed_files(repository, "nowhere")
    assert ended.value.code == 2
    assert "git merge-base failed" in capsys.readouterr().err


choose_tests_once = functools.cache(choose_tests)  # it reads every file of the repository


def test_no_change_is_success(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tools.check_changes.find_changed_files", lambda _root, _base: [])
    assert main([]) == 0
    assert capsys.readouterr().out == "check: nothing has changed.\n"


@pytest.mark.parametrize("failing", ["ruff", "mypy", "lint-imports", "python", "pytest"])
def test_one_failed_check_is_enough_for_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: str
) -> None:
    """The commands are stand-ins: each of them says that it passed, but one."""
    from tools import check_changes

    def run(command: str, *_arguments: str) -> check_changes.Outcome:
        return check_changes.Outcome(command != failing, output=f"{command} says what is wrong")

    monkeypatch.setattr(check_changes, "find_changed_files", lambda _root, _base: [PurePosixPath("tools/structure.py")])
    monkeypatch.setattr(check_changes, "run_command", run)
    monkeypatch.setattr(check_changes, "choose_tests", lambda root, changed, most: choose_tests_once(root, tuple(changed), most))
    monkeypatch.setattr(check_changes, "run_tests", lambda _tests, _deadline: run("pytest"))
    assert main([]) == 1
    output = capsys.readouterr().out
    assert f"{failing} says what is wrong" in output
    assert "tests/tools/test_structure.py" in output


def test_a_test_after_the_deadline_is_skipped_before_its_fixtures_and_the_summary_says_so(
    tmp_path: Path,
) -> None:
    (tmp_path / "hurried.py").write_text(
        "from tools import time_limit\nfrom tools.time_limit import *\ntime_limit.LEAST_SECONDS = 0.0\n", encoding="utf-8"
    )
    (tmp_path / "test_late.py").write_text(
        "import time\nimport pytest\n"
        "@pytest.fixture\ndef server(): raise RuntimeError\n"
        "def test_first(): time.sleep(0.01)\n"
        "def test_late(server): ...\n",
        encoding="utf-8",
    )
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": path, time_limit.DEADLINE_VARIABLE: str(time.time() - 1)}
    command = [sys.executable, "-m", "pytest", "-p", "hurried", "-q", "-rs", "-p", "no:cacheprovider", "test_late.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert describe_tests(done.stdout).startswith("1 passed, 1 skipped in ")
    assert describe_tests(done.stdout).endswith("time was too short for 1 tests, which `make test` runs")


def test_a_run_without_late_tests_is_described_by_its_last_line() -> None:
    assert describe_tests("....\n4 passed in 1.00s\n") == "4 passed in 1.00s"
