"""The local engine with real pipelines: how a run ends, and that it leaves no process and no temporary folder behind."""

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
from guards import GUARD_SECONDS

from sluice.engines.local.engine import LocalEngine
from sluice.engines.local.runs import read_run
from sluice.errors import ConfigurationError, DataError, StateError, UnsupportedError

if TYPE_CHECKING:
    from sluice.project.projects import Project


def processes_with(marker: str) -> list[int]:
    """Return the ids of the processes whose command line contains the marker, except this one."""
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
    deadline = time.monotonic() + GUARD_SECONDS
    while processes_with(marker) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not processes_with(marker)


def wait_for_step(run: Path) -> None:
    deadline = time.monotonic() + GUARD_SECONDS
    while not (run / "events.jsonl").exists() or "sleep-long" not in (run / "events.jsonl").read_text():
        assert time.monotonic() < deadline, (run / "log.txt").read_text()
        time.sleep(0.1)


def run_pipeline(project: Project, pipeline: str) -> dict[str, object]:
    engine = LocalEngine(project)
    run = engine.submit(pipeline, {"snapshot": ""})
    events = list(engine.events(run))
    document = read_run(engine.folder(run))
    assert len(events) >= len(document["steps"])
    return document


def test_a_run_passes_and_records_its_steps_in_order(small_project: Project) -> None:
    document = run_pipeline(small_project, "good")
    assert document["outcome"] == "passed"
    assert [step["outcome"] for step in document["steps"]] == ["pass", "pass"]
    assert document["steps"][-1]["detail"] == "two"
    assert document["ended"] > document["started"]


def test_a_failed_check_is_the_reason_of_the_run_and_has_its_exit_code(small_project: Project) -> None:
    document = run_pipeline(small_project, "failing")
    assert document["outcome"] == "failed"
    assert document["reason"] == "check auc failed: 0.61 < 0.80"
    assert document["steps"][-1]["exit_code"] == 4
    assert document["steps"][-1]["hint"] == "look at the page"


def test_an_exception_outside_a_recorded_step_fails_the_run(small_project: Project) -> None:
    document = run_pipeline(small_project, "broken")
    assert document["outcome"] == "failed"
    assert "log.txt" in str(document["reason"])


def test_an_unknown_pipeline_is_an_error_that_lists_the_pipelines(small_project: Project) -> None:
    with pytest.raises(ConfigurationError, match="no pipeline 'nightly'; its pipelines are: broken, endless, failing, good"):
        LocalEngine(small_project).submit("nightly", {})


def test_cancel_ends_every_process_and_records_the_interruption(small_project: Project) -> None:
    marker = uuid.uuid4().hex
    engine = LocalEngine(small_project)
    run = engine.submit("endless", {"snapshot": marker})
    wait_for_step(engine.folder(run))
    assert processes_with(marker)
    assert temporary_folders(marker)
    engine.cancel(run)
    assert wait_until_gone(marker)
    assert not temporary_folders(marker), "after SIGTERM the step must delete its temporary folder"
    document = read_run(engine.folder(run))
    assert document["outcome"] == "interrupted"
    assert document["steps"][-1]["outcome"] == "interrupted"


def test_leaving_watch_early_cancels_the_run(small_project: Project) -> None:
    marker = uuid.uuid4().hex
    engine = LocalEngine(small_project)
    run = engine.submit("endless", {"snapshot": marker})
    for event in engine.events(run):
        if event["step"] == "sleep-long":
            break
    assert wait_until_gone(marker)
    assert not temporary_folders(marker)
    assert read_run(engine.folder(run))["outcome"] == "interrupted"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the test looks for processes in /proc")
def test_killing_the_engine_leaves_no_process_and_a_run_that_was_cut_off(small_project: Project) -> None:
    marker = uuid.uuid4().hex
    script = (
        "from pathlib import Path\n"
        "from sluice.engines.local.engine import LocalEngine\n"
        "from sluice.project.projects import read_project\n"
        f"engine = LocalEngine(read_project(Path({str(small_project.root)!r})))\n"
        f"run = engine.submit('endless', {{'snapshot': {marker!r}}})\n"
        "print(engine.folder(run), flush=True)\n"
        "list(engine.events(run))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        run = Path(parent.stdout.readline().strip())
        wait_for_step(run)
        engine = LocalEngine(small_project)
        assert engine.read(run.name).summary.outcome == "running"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until_gone(marker)
    deadline = time.monotonic() + GUARD_SECONDS
    while not (found := engine.read(run.name)).ended and time.monotonic() < deadline:
        time.sleep(0.1)  # the kernel closes the files of a killed process after its command line is gone
    assert (found.ended, found.summary.outcome, found.exit_code) == (True, "cut_off", 1)
    assert "during the step sleep-long" in found.reason
    assert [step.outcome for step in found.steps] == ["pass", "interrupted"]
    assert [one.outcome for one in engine.list()] == ["cut_off"]
    assert (engine.result(run.name).outcome, engine.result(run.name).reason) == ("cut_off", found.reason)
    engine.cancel(run.name)  # there is nothing left to end
    for folder in temporary_folders(marker):  # a killed process cannot delete its folder
        folder.rmdir()


@pytest.mark.slow
def test_ctrl_c_prints_one_message_and_leaves_no_process(small_project: Project) -> None:
    marker = uuid.uuid4().hex
    command = [sys.executable, "-m", "sluice", "run", "endless", "--snapshot", marker]
    with subprocess.Popen(command, cwd=small_project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + GUARD_SECONDS
        while not (runs := list((small_project.root / ".sluice" / "runs").glob("*"))):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        wait_for_step(runs[0])
        running.send_signal(signal.SIGINT)
        _, printed = running.communicate(timeout=GUARD_SECONDS)
    assert running.returncode == 130
    assert printed.startswith("error: interrupted")
    assert "next: " in printed
    assert not [pid for pid in processes_with(marker) if not wait_until_gone(marker)]
    assert not temporary_folders(marker)
    assert read_run(runs[0])["outcome"] == "interrupted"


def test_a_second_submit_with_the_same_key_starts_nothing(small_project: Project) -> None:
    engine = LocalEngine(small_project)
    first = engine.submit("good", {"snapshot": ""}, key="drift of 2026-11-30/é")
    assert engine.submit("good", {"snapshot": ""}, key="drift of 2026-11-30/é") == first
    assert LocalEngine(small_project).submit("good", {"snapshot": ""}, key="drift of 2026-11-30/é") == first
    *_, last = engine.watch(first)
    assert last.ended
    assert last.summary.outcome == "passed"
    assert [step.outcome for step in last.steps] == ["pass", "pass"]
    assert [run.id for run in engine.list()] == [first]
    assert any("say" in line for line in engine.logs(first, "say"))


def test_a_run_that_nobody_watches_gets_its_record(small_project: Project) -> None:
    engine = LocalEngine(small_project)
    run = engine.submit("failing", {"snapshot": ""})
    engine._sessions[run].recorder.join(GUARD_SECONDS)  # type: ignore[union-attr]
    found = engine.read(run)
    assert (found.ended, found.summary.outcome, found.exit_code) == (True, "failed", 4)
    assert found.hint == "look at the page"


def test_another_process_cannot_end_a_local_run_and_nothing_continues_or_schedules_one(small_project: Project) -> None:
    engine, other = LocalEngine(small_project), LocalEngine(small_project)
    run = engine.submit("endless", {"snapshot": uuid.uuid4().hex})
    try:
        with pytest.raises(StateError, match="another process started run"):
            other.cancel(run)
        with pytest.raises(UnsupportedError):
            other.retry(run)
        with pytest.raises(StateError, match="waits for no approval"):
            other.resume(run, by="ada")
        with pytest.raises(UnsupportedError, match="no schedules"):
            other.schedule_remove()
        with pytest.raises(DataError, match="has no step 'train'"):
            other.logs(run, "train")
    finally:
        engine.cancel(run)
    engine.cancel(run)  # a second time changes nothing
