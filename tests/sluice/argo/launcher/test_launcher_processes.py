"""Tests of the launcher as a process: its text, exit codes, signals and arguments."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from guards import GUARD_SECONDS

from sluice.argo.expressions.wire_json import launcher_text

if TYPE_CHECKING:
    from pathlib import Path

    from launcher_runs import Launched


def test_the_launchers_text_contains_nothing_that_argo_or_kubernetes_would_replace() -> None:
    text = launcher_text()
    for replaced in ("{{", "$(", "$$"):
        assert replaced not in text
    compile(text, "launcher", "exec")


def test_the_launchers_text_is_python_3_7_and_short() -> None:
    ast.parse(launcher_text(), feature_version=(3, 7))
    assert len(launcher_text().encode()) < 8192


def test_the_launchers_text_imports_only_the_standard_library_of_python_3_7() -> None:
    tree = ast.parse(launcher_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names <= {"json", "math", "os", "re", "shutil", "signal", "subprocess", "sys", "tempfile"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


@pytest.mark.parametrize("code", [0, 1, 42, 127, 255])
def test_the_launcher_exits_with_the_exit_code_of_the_component(launched: Launched, code: int) -> None:
    done = launched.run(launched.spec(), ["sh", "-c", f"echo out; echo err >&2; exit {code}"])
    assert (done.code, done.stdout, done.stderr) == (code, "out\n", "err\n")


def test_the_launcher_reads_no_outputs_of_a_component_that_failed(launched: Launched) -> None:
    spec = launched.spec(outputs={"n": "NUMBER_INTEGER"})
    file = spec["executor"]["outputs"]["parameters"]["n"]["outputFile"]
    done = launched.run(spec, ["sh", "-c", 'echo 1 > "$0"; exit 42', file])
    assert (done.code, done.texts) == (42, {})


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGINT"])
def test_the_launcher_ends_by_the_same_signal_as_the_component(launched: Launched, name: str) -> None:
    done = launched.run(launched.spec(), ["python3", "-c", f"import os, signal; os.kill(os.getpid(), signal.{name})"])
    assert done.code == -getattr(signal, name)


def test_a_command_that_does_not_exist_fails(launched: Launched) -> None:
    done = launched.run(launched.spec(), ["no-such-command-at-all"])
    assert done.code == 1
    assert "no-such-command-at-all" in done.stderr


CLEAN = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
def end(number, frame):
    (folder / "seen").write_text(signal.Signals(number).name)
    sys.exit(int(sys.argv[2]))
signal.signal(getattr(signal, sys.argv[3]), end)
(folder / "ready").write_text("")
time.sleep(30)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGTERM", 7), ("SIGINT", 0), ("SIGUSR1", 3)])
def test_a_signal_reaches_the_component_which_can_end_in_its_own_way(
    launched: Launched, tmp_path: Path, name: str, code: int
) -> None:
    command = launched.command(launched.spec(), ["python3", "-c", CLEAN, str(tmp_path), str(code), name])
    with subprocess.Popen(command, env=launched.environ()) as process:
        wait_for(tmp_path / "ready")
        process.send_signal(getattr(signal, name))
        assert process.wait(timeout=GUARD_SECONDS) == code
    assert (tmp_path / "seen").read_text(encoding="utf-8") == name


def test_a_component_that_ignores_the_signal_continues(launched: Launched, tmp_path: Path) -> None:
    program = "trap '' TERM; : > \"$0/ready\"; sleep 1; echo done"
    command = launched.command(launched.spec(), ["sh", "-c", program, str(tmp_path)])
    with subprocess.Popen(command, env=launched.environ(), stdout=subprocess.PIPE, text=True) as process:
        wait_for(tmp_path / "ready")
        process.terminate()
        out, _ = process.communicate(timeout=GUARD_SECONDS)
    assert (process.returncode, out) == (0, "done\n")


def test_the_component_ends_with_the_launcher(launched: Launched, tmp_path: Path) -> None:
    command = launched.command(launched.spec(), ["sh", "-c", 'echo $$ > "$0/pid"; exec sleep 30', str(tmp_path)])
    with subprocess.Popen(command, env=launched.environ()) as process:
        wait_for(tmp_path / "pid", filled=True)
        process.terminate()
        assert process.wait(timeout=GUARD_SECONDS) == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text(encoding="utf-8")), 0)


EARLY = """
import os, signal, subprocess
from sluice.argo import launcher
start = subprocess.Popen
def started(*arguments, **named):
    child = start(*arguments, **named)
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    return child
launcher.subprocess.Popen = started
launcher.run(["sleep", "30"], dict(os.environ))
"""


def test_a_signal_during_the_start_reaches_the_component() -> None:
    done = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, check=False, timeout=GUARD_SECONDS)
    assert done.returncode == -signal.SIGTERM, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def wait_for(file: Path, *, filled: bool = False) -> None:
    end = time.monotonic() + GUARD_SECONDS
    while not file.exists() or (filled and not file.read_text(encoding="utf-8")):
        assert time.monotonic() < end, f"{file} did not appear in time"
        time.sleep(0.02)


def test_the_launcher_reads_an_input_that_argo_put_into_a_file(launched: Launched) -> None:
    spec = launched.spec(inputs={"a": "x"}, types={"a": "STRING"})
    done = launched.run(spec, ["python3", "-c", "import sys; print(sys.argv[1])", "{{$}}"], offloaded=True)
    assert json.loads(done.stdout)["inputs"]["parameterValues"] == {"a": "x"}


def test_the_launcher_reads_an_argument_that_argo_put_into_a_file(launched: Launched) -> None:
    file = f"/tmp/argo_arg_{os.getpid()}99.txt"  # noqa: S108 - Argo uses this folder
    try:
        with open(file, "w", encoding="utf-8") as written:  # noqa: PTH123
            written.write("print('{⦃(⦃s', 3)")
        done = launched.run(launched.spec(), ["python3", "-c", f"@{file}"])
    finally:
        os.unlink(file)  # noqa: PTH108
    assert done.stdout == "{{{$ 3\n"


@pytest.mark.parametrize(
    "argument", ["", "{$}", "{{$}", "⦃", "⦃(", "⦃s", "⦃⦃", "$(HOME)", "$$", "{{x}}", "a\nb", "@/tmp/argo_arg_0.txt.x", "-", "é"]
)
def test_an_argument_reaches_the_component_unchanged(launched: Launched, argument: str) -> None:
    done = launched.run(launched.spec(), ["python3", "-c", "import sys; print(ascii(sys.argv[1]))", argument])
    assert done.stdout.strip() == ascii(argument)


def test_the_executor_input_has_the_same_form_as_in_kfp(launched: Launched) -> None:
    spec = launched.spec(inputs={"n": 1}, types={"n": "NUMBER_INTEGER"}, outputs={"out": "STRING"}, made=["model"])
    program = 'python3 -c "import sys; print(sys.argv[1])" "$0"; printf x > "$1"'
    done = launched.run(spec, ["sh", "-c", program, "{{$}}", spec["executor"]["outputs"]["parameters"]["out"]["outputFile"]])
    found = json.loads(done.stdout)
    assert found["inputs"] == {"parameterValues": {"n": 1}, "artifacts": {}}
    assert found["outputs"] == spec["executor"]["outputs"]
    assert set(done.texts) == {"out", "model"}
