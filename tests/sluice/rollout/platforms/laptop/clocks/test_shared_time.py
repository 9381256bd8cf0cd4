"""The supervisor and all commands read one time, although somebody sets the system's clock or restarts the machine."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from guards import GUARD_SECONDS
from laptop_rollouts import make_champion, start_canary
from rollout_backends import Backends, name_release, wait_for
from rollout_traffic import Traffic

from sluice.project.projects import Project
from sluice.rollout.decisions.states import Approval, Journal
from sluice.rollout.platforms.laptop.journal_file import JournalFile
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import approvals, outcomes, statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOUR = 3600.0
A, B = name_release("a"), name_release("b")
CHILD = Path(__file__).parents[3] / "rollout_child.py"
CLOCK = Path(__file__).parents[5] / "cluster" / "rollouts" / "clock"
"""Its sitecustomize shifts the system's clock for one process."""


@pytest.fixture
def file(tmp_path: Path) -> JournalFile:
    """The journal, and a time that is shared already."""
    found = JournalFile(tmp_path / "rollout")
    found.keep_time()
    return found


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that shifts the system's clock of this process by some seconds."""
    real = time.time

    def shift(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return shift


def read_time(folder: Path) -> float:
    """Return the time that a new command reads."""
    return JournalFile(folder).clock.now()


@pytest.mark.parametrize("shift", [-HOUR, HOUR])
def test_the_time_goes_on_when_the_system_clock_is_set(
    file: JournalFile, set_clock: Callable[[float], None], shift: float
) -> None:
    before, began = file.clock.now(), time.monotonic()
    set_clock(shift)
    for found in (file.clock.now(), read_time(file.folder)):
        assert 0.0 <= found - before <= time.monotonic() - began + 1.0


@pytest.mark.parametrize("shift", [-HOUR, HOUR])
def test_a_process_whose_system_clock_differs_reads_the_same_time(file: JournalFile, tmp_path: Path, shift: float) -> None:
    offset = tmp_path / "offset"
    offset.write_text(str(shift))
    script = (
        "import time; from pathlib import Path; from sluice.rollout.platforms.laptop.journal_file import JournalFile\n"
        f"file = JournalFile(Path({str(file.folder)!r})); file.keep_time(); print(file.clock.now(), time.time())"
    )
    before = file.clock.now()
    answer = subprocess.run([sys.executable, "-c", script], env=shifted(offset), capture_output=True, text=True, check=True)
    found, system = map(float, answer.stdout.split())
    after = file.clock.now()
    assert before <= found <= after
    assert abs(system - found) > HOUR / 2, "the other process had another system clock"
    assert before <= read_time(file.folder) <= file.clock.now(), "it changed the time of nobody"


@pytest.mark.usefixtures("gate_passed")
@pytest.mark.parametrize("shift", [-HOUR, HOUR])
def test_an_approval_is_valid_for_as_long_as_it_says(project: Project, set_clock: Callable[[float], None], shift: float) -> None:
    approvals.approve(project, B, by="eve")
    set_clock(shift)
    found = approvals.find_approval(project, B)
    assert found is not None, "an approval does not expire because the clock is set forward"
    end = project.settings.rollout.approval_seconds
    assert found.until - open_journal(project).clock.now() <= end, "nor does it last longer because the clock is set back"


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"boot": "x", "steady": 1, "time": NaN}', '{"boot": "x"}'])
def test_without_a_readable_reference_the_time_is_not_before_the_journal(
    file: JournalFile, set_clock: Callable[[float], None], content: str | None
) -> None:
    given = file.clock.now()
    approval = Approval(release=B, steps=(100,), by="eve", at=given, until=given + HOUR)
    file.update(lambda journal: dataclasses.replace(journal, approvals=(approval,)))
    path = file.folder / "clock.json"
    path.unlink() if content is None else path.write_text(content)
    set_clock(-HOUR)
    assert read_time(file.folder) >= given
    file.keep_time()  # as the supervisor does
    assert abs(read_time(file.folder) - file.clock.now()) < GUARD_SECONDS


def test_after_a_reboot_the_time_continues_from_the_newest_time_seen(
    file: JournalFile, set_clock: Callable[[float], None]
) -> None:
    path = file.folder / "clock.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"boot": "another boot"}))
    set_clock(-HOUR)
    assert 0.0 <= read_time(file.folder) - known["time"] < GUARD_SECONDS
    set_clock(HOUR)
    assert read_time(file.folder) - known["time"] >= HOUR, "the machine may have been off, so the time follows the system's clock"


def test_a_process_that_read_the_time_first_takes_over_the_time_that_another_one_shared_first(
    tmp_path: Path, set_clock: Callable[[float], None]
) -> None:
    command, supervisor = JournalFile(tmp_path), JournalFile(tmp_path)
    set_clock(HOUR)
    early = command.clock.now()
    set_clock(0.0)
    supervisor.keep_time()
    assert early - supervisor.clock.now() > HOUR / 2
    command.update(lambda journal: dataclasses.replace(journal, last_command_id="c"))
    assert abs(command.clock.now() - supervisor.clock.now()) < GUARD_SECONDS


def test_reading_the_time_writes_nothing(tmp_path: Path) -> None:
    assert JournalFile(tmp_path / "rollout").clock.now() > 0.0
    assert not (tmp_path / "rollout").exists()


def test_a_time_that_cannot_be_stored_stops_no_decision(tmp_path: Path) -> None:
    file = JournalFile(tmp_path)
    (tmp_path / "clock.lock").mkdir()
    assert file.update(lambda journal: dataclasses.replace(journal, last_command_id="c")) != Journal()


def shifted(offset: Path) -> dict[str, str]:
    """Return the environment of a process whose system clock is shifted by the seconds in a file."""
    path = os.pathsep.join([str(CLOCK), *sys.path])
    return {**os.environ, "PYTHONPATH": path, "SLUICE_TEST_CLOCK": str(offset)}


@pytest.fixture
def serving_with(project: Project, backends: Backends, tmp_path: Path) -> Iterator[Path]:
    """Run a supervisor whose system clock is shifted by the seconds in this file."""
    offset = tmp_path / "offset"
    offset.write_text("0")
    project.root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(CHILD), str(project.root), str(backends.folder), project.settings.model_dump_json()]
    with (
        (project.root / "child.log").open("ab") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=shifted(offset)) as process,
    ):
        yield offset
        process.terminate()


@pytest.mark.slow
@pytest.mark.usefixtures("gate_passed")
class TestBake:
    BAKE_SECONDS = 4.0

    @pytest.fixture
    def project(self, project: Project) -> Project:
        table = project.settings.rollout.model_copy(update={"bake_seconds": self.BAKE_SECONDS})
        return Project(project.root, project.settings.model_copy(update={"rollout": table}))

    @pytest.mark.parametrize("shift", [-HOUR, HOUR])
    def test_a_bake_takes_its_time_although_the_clock_is_set(self, project: Project, serving_with: Path, shift: float) -> None:
        url = outcomes.wait_until_serving(project, GUARD_SECONDS)
        make_champion(project, A)
        with Traffic(url):
            start_canary(project, B)
            wait_for(lambda: statuses.read_status(project).state == "baking")
            serving_with.write_text(str(shift))
            assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "promoted"
        times = {one.to_state: one.time for one in open_journal(project).read().transitions}
        assert self.BAKE_SECONDS <= times["promoted"] - times["baking"] < HOUR / 2
        assert "the system's clock is" in (project.root / "child.log").read_text()
