"""Check what has changed since the last commit within seconds: `make check`.

Run ``python tools/check_changes.py [--base REVISION]``. It runs ruff on the changed Python files, mypy, import-linter and the
structure check on all packages, and the test files that say most about the change. It leaves out the slow tests and those that
need a cluster. It prints what it ran and for how long, and exits with code 1 if something failed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a plain script finds only the modules beside it

from tools import time_limit
from tools.affected_tests import Selection, read_test_imports, select_tests
from tools.structure import ROOT, find_packages, read_files, read_imports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

BIN = Path(sys.executable).parent
TEST_FOLDERS = ("tests/sluice", "tests/churn", "tests/tools")
"""The tests that `make test` runs with pytest itself. The example's four layers run through `sluice test`."""

MOST_TEST_FILES = 8
SECONDS = 10.0
"""No test starts later than this after the check began. The tests that run then finish, so the answer comes within 20 seconds."""

NO_TESTS_COLLECTED = 5
"""pytest's exit code if all tests of the chosen files are deselected."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one command did.

    Attributes:
        has_passed: Whether it found nothing wrong.
        remark: A short text for the summary.
        output: What it printed.
    """

    has_passed: bool
    remark: str = ""
    output: str = ""


def find_changed_files(root: Path, base: str | None) -> list[PurePosixPath]:
    """Return the changed, new and deleted files since `base`, or since the last commit.

    Args:
        root: The project's root.
        base: A git revision. What happened on it since the present branch left it is no change.
    """
    since = _git(root, "merge-base", base, "HEAD")[0] if base else "HEAD"
    tracked = _git(root, "diff", "--name-only", "--no-renames", "--relative", "-z", since)
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    return sorted({PurePosixPath(name) for name in (*tracked, *untracked)})


def _git(root: Path, *arguments: str) -> list[str]:
    """Run git and return its output, split at NUL characters and stripped of the last newline."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)  # noqa: S607 - git is on the path
    if done.returncode:
        sys.stderr.write(f"check: git {arguments[0]} failed: {done.stderr.strip()}\n")
        raise SystemExit(2)
    return [part for part in done.stdout.rstrip("\n").split("\0") if part]


def choose_tests(root: Path, changed: Iterable[PurePosixPath], most: int) -> Selection:
    """Read who imports what below `root`, and select the tests for the changed files."""
    files = read_files(root)
    imports = read_imports(root, find_packages(files))
    in_tests = [file for file in files if any(file.is_relative_to(folder) for folder in TEST_FOLDERS)]
    texts = {file: (root / file).read_text(encoding="utf-8") for file in in_tests}
    return select_tests(list(changed), imports, read_test_imports(texts, imports), most)


def run_command(*command: str) -> Outcome:
    """Run a check that prints something only of interest if it fails."""
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    return Outcome(done.returncode == 0, output=done.stdout + done.stderr)


def run_tests(tests: Sequence[PurePosixPath], deadline: float) -> Outcome:
    """Run test files until the first failure. No test starts after the deadline, which is in seconds since 1970."""
    options = ["-n", "2", "-x", "-q", "--no-header", "--tb=short", "--dist", "loadfile", "-m", "not slow and not cluster"]
    command = [str(BIN / "python"), "-m", "pytest", "-p", time_limit.__name__, *options, *map(str, tests)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, time_limit.DEADLINE_VARIABLE: str(deadline)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return Outcome(done.returncode in {0, NO_TESTS_COLLECTED}, describe_tests(done.stdout), done.stdout + done.stderr)


def describe_tests(output: str) -> str:
    """Return pytest's last line, and how many tests had no time to run."""
    last = output.rstrip().rpartition("\n")[2]
    late = sum(int(count) for count in re.findall(rf"^SKIPPED \[(\d+)\] .*{time_limit.REASON}", output, re.MULTILINE))
    return f"{last}; time was too short for {late} tests, which `make test` runs" if late else last


def report(name: str, check: Callable[[], Outcome]) -> bool:
    """Run one check, print its name, result and duration, and its output if it failed.

    Returns:
        Whether it passed.
    """
    start = time.monotonic()
    outcome = check()
    seconds = time.monotonic() - start
    sys.stdout.write(
        f"{'ok' if outcome.has_passed else 'FAILED':<7}{name:<15}{seconds:5.1f} s   {outcome.remark}".rstrip() + "\n"
    )
    if not outcome.has_passed:
        sys.stdout.write(f"{outcome.output.strip()}\n\n")
    sys.stdout.flush()
    return outcome.has_passed


def describe(label: str, files: Sequence[PurePosixPath], shown: int = 10) -> str:
    """Return a line that names the files, at most `shown` of them."""
    names = ", ".join(map(str, files[:shown]))
    more = f" and {len(files) - shown} more" if len(files) > shown else ""
    return f"{label}: {names}{more}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks. Return 0 if all passed, 1 if one failed."""
    parser = argparse.ArgumentParser(description="Check what has changed since the last commit.")
    parser.add_argument("--base", metavar="REVISION", help="check everything since the present branch left this revision")
    parser.add_argument(
        "--tests", type=int, default=MOST_TEST_FILES, metavar="N", help="largest number of test files (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="start no test after so many seconds (%(default)s)")
    options = parser.parse_args(arguments)
    start = time.time()
    changed = find_changed_files(ROOT, options.base)
    if not changed:
        sys.stdout.write("check: nothing has changed.\n")
        return 0
    sys.stdout.write(describe(f"{len(changed)} changed {'file' if len(changed) == 1 else 'files'}", changed))
    python = [str(file) for file in changed if file.suffix == ".py" and (ROOT / file).exists()]
    checks: list[tuple[str, Callable[[], Outcome]]] = []
    if python:
        checks.append(
            (
                "ruff check",
                partial(run_command, "ruff", "check", "--quiet", "--output-format=concise", "--force-exclude", *python),
            )
        )
        checks.append(("ruff format", partial(run_command, "ruff", "format", "--check", "--force-exclude", *python)))
    if python or PurePosixPath("pyproject.toml") in changed:
        checks.append(("import-linter", partial(run_command, "lint-imports", "--no-logo")))
        checks.append(("structure", partial(run_command, "python", "tools/structure.py")))
        checks.append(("mypy", partial(run_command, "mypy")))
    passed = [report(name, check) for name, check in checks]
    selection = choose_tests(ROOT, changed, options.tests)
    if selection.chosen:
        passed.append(report("tests", partial(run_tests, selection.chosen, start + options.seconds)))
        sys.stdout.write(describe("  test files that ran", selection.chosen, shown=len(selection.chosen)))
    else:
        sys.stdout.write("No test file mirrors or imports what has changed.\n")
    if selection.left_out:
        sys.stdout.write(describe("  related test files that are left to `make test`", selection.left_out))
    result = "all passed" if all(passed) else f"{passed.count(False)} of {len(passed)} failed"
    sys.stdout.write(f"check: {result} in {time.time() - start:.1f} s.\n")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
