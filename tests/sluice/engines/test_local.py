"""The local engine with real pipelines: how runs end, and that nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sluice.engines.local import LocalEngine
from sluice.engines.runs import read_run
from sluice.errors import ConfigurationError

if TYPE_CHECKING:
    from sluice.project.projects import Project


def processes_with(marker: str) -> list[int]:
    """Pids of processes whose command line holds the marker, this one left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if marker in line and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def temporary_folders(marker: str) -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"sluice-{marker}-*"))


def wait_until_gone(marker: str) -> bool:
    deadline = time.monotonic() + 20
    while processes_with(marker) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not processes_with(marker)


def wait_for_step(run: Path) -> None:
    deadline = time.monotonic() + 60
    while not (run / "events.jsonl").exists() or "sleep-long" not in (run / "events.jsonl").read_text():
        assert time.monotonic() < deadline, (run / "log.txt").read_text()
        time.sleep(0.1)


def play(project: Project, pipeline: str) -> dict[str, object]:
    engine = LocalEngine(project)
    run = engine.submit(pipeline, {"snapshot": ""})
    events = list(engine.watch(run))
    document = read_run(run)
    assert len(events) >= len(document["steps"])
    return document


def test_a_good_run_passes_with_its_steps_in_order(small_project: Project) -> None:
    document = play(small_project, "good")
    assert document["outcome"] == "passed"
    assert [step["outcome"] for step in document["steps"]] == ["pass", "pass"]
    assert document["steps"][-1]["detail"] == "two"
    assert document["ended"] > document["started"]


def test_a_refusal_names_the_check_and_carries_the_exit_code(small_project: Project) -> None:
    document = play(small_project, "refused")
    assert document["outcome"] == "failed"
    assert document["reason"] == "check auc failed: 0.61 < 0.80"
    assert document["steps"][-1]["exit_code"] == 4
    assert document["steps"][-1]["hint"] == "look at the page"


def test_a_crash_outside_any_step_is_a_failed_run(small_project: Project) -> None:
    document = play(small_project, "broken")
    assert document["outcome"] == "failed"
    assert "log.txt" in str(document["reason"])


def test_an_unknown_pipeline_is_refused_by_name(small_project: Project) -> None:
    with pytest.raises(ConfigurationError, match="no pipeline 'nightly', only broken, endless, good, refused"):
        LocalEngine(small_project).submit("nightly", {})


def test_cancelling_ends_every_process_and_says_interrupted(small_project: Project) -> None:
    marker = uuid.uuid4().hex
    engine = LocalEngine(small_project)
    run = engine.submit("endless", {"snapshot": marker})
    wait_for_step(run)
    assert processes_with(marker)
    assert temporary_folders(marker)
    engine.cancel(run)
    assert wait_until_gone(marker)
    assert not temporary_folders(marker), "SIGTERM unwinds the step"
    document = read_run(run)
    assert document["outcome"] == "interrupted"
    assert document["steps"][-1]["outcome"] == "interrupted"


def test_leaving_the_watch_early_cancels_the_run(small_project: Project) -> None:
    marker = uuid.uuid4().hex
    engine = LocalEngine(small_project)
    run = engine.submit("endless", {"snapshot": marker})
    for event in engine.watch(run):
        if event["step"] == "sleep-long":
            break
    assert wait_until_gone(marker)
    assert not temporary_folders(marker)
    assert read_run(run)["outcome"] == "interrupted"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="counts processes in /proc")
def test_killing_the_engine_leaves_no_process(small_project: Project) -> None:
    marker = uuid.uuid4().hex
    script = (
        "from pathlib import Path\n"
        "from sluice.engines.local import LocalEngine\n"
        "from sluice.project.projects import read_project\n"
        f"engine = LocalEngine(read_project(Path({str(small_project.root)!r})))\n"
        f"run = engine.submit('endless', {{'snapshot': {marker!r}}})\n"
        "print(run, flush=True)\n"
        "list(engine.watch(run))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        run = Path(parent.stdout.readline().strip())
        wait_for_step(run)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until_gone(marker)
    for folder in temporary_folders(marker):  # nobody can clean up behind a SIGKILL
        folder.rmdir()


def test_ctrl_c_in_the_command_is_one_message_and_leaves_no_process(small_project: Project) -> None:
    marker = uuid.uuid4().hex
    command = [sys.executable, "-m", "sluice", "run", "endless", "--snapshot", marker]
    with subprocess.Popen(command, cwd=small_project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not (runs := list((small_project.root / ".sluice" / "runs").glob("*"))):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        wait_for_step(runs[0])
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said.startswith("error: interrupted")
    assert "next: " in said
    assert not [pid for pid in processes_with(marker) if not wait_until_gone(marker)]
    assert not temporary_folders(marker)
    assert read_run(runs[0])["outcome"] == "interrupted"
