"""What a layer's child process must not see, must not leave behind, and must not outlive."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluice.checks.layers import LayerResult
    from sluice.project.projects import Project

    Run = Callable[..., LayerResult]

HANG = """
    import pathlib, subprocess, sys, time
    def test_hangs():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path({note!r}).write_text(str(child.pid))
        {wait}
"""


def is_alive(pid: int) -> bool:
    """Return whether a process runs. A zombie that its parent has not waited for does not count."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll a condition, because it becomes true in another process."""
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, "the condition did not become true within a minute"
        time.sleep(0.02)


def read_pid(note: Path) -> int:
    wait_until(lambda: note.exists() and note.read_text() != "")
    return int(note.read_text())


def list_files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_a_layer_writes_nothing_into_the_project(run: Run, shop: Project) -> None:
    suite = """
        from hypothesis import given, strategies
        from shop.data import load
        @given(strategies.integers())
        def test_all(number): assert number < 1000
    """
    run(suite)
    before = list_files(shop.root)
    result = run(suite)
    assert result.outcome is Outcome.FAIL
    assert list_files(shop.root) == before
    assert not [name for name in before if ".pytest_cache" in name or ".hypothesis" in name]


READ_ONLY_RUN = """
import ctypes, os, sys
from pathlib import Path

if len(sys.argv) == 3:
    # Root may write anywhere by this capability. Without it, the permissions of its own files apply to it too.
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) != 0:
        sys.exit("cannot give up CAP_DAC_OVERRIDE")
    os.execv(sys.executable, [sys.executable, __file__, *sys.argv[1:], "again"])

from sluice.checks.layers import LayerInputs, run_layer
from sluice.project.projects import read_project

root, results = Path(sys.argv[1]), Path(sys.argv[2])
try:
    (root / "probe").touch()
except PermissionError:
    result = run_layer(read_project(root), "model", LayerInputs(), results)
    print(result.outcome.value, [verdict.detail for verdict in result.verdicts])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="drops a Linux capability if the tests run as root")
def test_a_layer_runs_in_a_read_only_project(shop: Project, tmp_path: Path) -> None:
    (shop.root / "tests" / "model" / "test_one.py").write_text(
        "def test_reads(holdout, snapshot): assert len(holdout) and len(snapshot.frame) == 400\n"
    )
    script = tmp_path / "script.py"
    script.write_text(READ_ONLY_RUN)
    places = [shop.root, *shop.root.rglob("*")]
    modes = {place: place.stat().st_mode for place in places}
    before = list_files(shop.root)
    try:
        for place in places:
            place.chmod(0o555 if place.is_dir() else 0o444)
        done = subprocess.run(
            [sys.executable, str(script), str(shop.root), str(tmp_path / "results")], capture_output=True, text=True, check=False
        )
    finally:
        for place, mode in modes.items():
            place.chmod(mode)
    assert done.stdout.startswith("pass"), done.stdout + done.stderr
    assert list_files(shop.root) == before


def test_pytest_settings_from_outside_the_project_are_ignored(run: Run, shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only -p no_such_plugin_anywhere")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin_anywhere")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    (shop.root.parent / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (shop.root.parent / "conftest.py").write_text("raise RuntimeError('above the project')\n")
    assert run("import shop.data\ndef test_one(): ...").outcome is Outcome.PASS


def test_the_projects_pytest_settings_apply_except_addopts(run: Run, shop: Project) -> None:
    (shop.root / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\naddopts = "--strict-markers --strict-config -x --no-such-option"\n'
        'required_plugins = ["pytest-nowhere"]\nasyncio_mode = "auto"\n'
        'filterwarnings = ["error::DeprecationWarning"]\nstrict_config = true\nstrict_markers = true\n'
    )
    result = run("""
        import pytest, warnings
        def test_warns(): warnings.warn("old", DeprecationWarning)
        @pytest.mark.whatever
        def test_runs(): ...
    """)
    assert {verdict.check: verdict.outcome.value for verdict in result.verdicts} == {"test_warns": "fail", "test_runs": "pass"}


def test_installed_plugins_are_not_loaded_but_named_ones_are(run: Run) -> None:
    suite = {"test_one.py": "def test_one(request): assert request.config.pluginmanager.hasplugin('pytest_timeout') is {}"}
    assert run({"test_one.py": suite["test_one.py"].format(False)}).outcome is Outcome.PASS
    named = {"conftest.py": "pytest_plugins = ['pytest_timeout']", "test_one.py": suite["test_one.py"].format(True)}
    assert run(named).outcome is Outcome.PASS


def test_the_plugin_imports_nothing_heavy(run: Run) -> None:
    result = run("""
        import sys
        def test_light(verify):
            heavy = {"pandas", "numpy", "sklearn", "scipy", "great_expectations", "pydantic", "joblib", "jinja2", "kfp"}
            assert not heavy & set(sys.modules)
    """)
    assert result.outcome is Outcome.PASS, result.verdicts


@pytest.mark.parametrize(
    "wait",
    [
        "time.sleep(600)",
        pytest.param("while True: pass", marks=pytest.mark.slow),
        pytest.param("__import__('signal').signal(2, 1); time.sleep(600)", marks=pytest.mark.slow),
    ],
    ids=["sleeps", "spins", "ignores"],
)
@pytest.mark.slow
def test_a_suite_that_hangs_fails_and_leaves_no_process(run: Run, tmp_path: Path, wait: str) -> None:
    note = tmp_path / "pid"
    for timeout in (4, 16, 64, 256):  # on a busy machine the suite needs more time until its test starts
        result = run(HANG.format(note=str(note), wait=wait), timeout=timeout)
        assert result.outcome is Outcome.FAIL
        if note.exists():
            break
    detail = next(verdict for verdict in result.verdicts if verdict.check == "code_suite").detail
    expected = f"tests/code did not end within {timeout} s, so Sluice stopped it during tests/code/test_suite.py::test_hangs"
    assert detail == expected
    wait_until(lambda: not is_alive(read_pid(note)))


def test_processes_that_a_suite_leaves_behind_are_killed(run: Run, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    assert run(HANG.format(note=str(note), wait="pass")).outcome is Outcome.PASS
    wait_until(lambda: not is_alive(read_pid(note)))


@pytest.fixture
def layer_process(shop: Project, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Return a process that runs a hanging layer, and the pids of the suite and its child."""
    note = tmp_path / "pid"
    suite = shop.root / "tests" / "code" / "test_suite.py"
    suite.write_text(
        "import os, pathlib, subprocess, sys, time\n"
        "def test_hangs():\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"    pathlib.Path({str(note)!r}).write_text(f'{{os.getpid()}} {{child.pid}}')\n"
        "    time.sleep(600)\n"
    )
    script = (
        "import sys; from pathlib import Path\n"
        "from sluice.checks.layers import LayerInputs, run_layer; from sluice.project.projects import read_project\n"
        "run_layer(read_project(Path(sys.argv[1])), 'code', LayerInputs(), Path(sys.argv[2]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(shop.root), str(tmp_path / "results")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # A killed process cannot clean up.
    )
    wait_until(lambda: note.exists() and " " in note.read_text())
    pids = [int(word) for word in note.read_text().split()]
    try:
        yield process, pids
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_suite_ends_when_its_parent_ends(
    layer_process: tuple[subprocess.Popen[str], list[int]], ending: signal.Signals
) -> None:
    process, pids = layer_process
    process.send_signal(ending)
    assert process.wait(30) == -ending
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    if ending is signal.SIGINT:
        assert "KeyboardInterrupt" in process.stderr.read()
