"""The supervisor as a process of its own: how it starts, what survives a kill, and that no process is left behind."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from guards import GUARD_SECONDS
from laptop_rollouts import make_champion, start_canary
from rollout_backends import Backends, is_running, name_release, wait_for
from rollout_traffic import Traffic

from sluice.errors import IntegrityError
from sluice.rollout.platforms.laptop.supervisor import run_supervisor
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import outcomes, statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluice.project.projects import Project

pytestmark = pytest.mark.usefixtures("gate_passed")

A, B = name_release("a"), name_release("b")
CHILD = Path(__file__).parents[2] / "rollout_child.py"


@pytest.fixture
def supervise(project: Project, backends: Backends) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Return a function that starts a supervisor in a process of its own."""
    running: list[subprocess.Popen[bytes]] = []
    log = project.root / "child.log"
    project.root.mkdir(parents=True, exist_ok=True)

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            command = [sys.executable, str(CHILD), str(project.root), str(backends.folder), project.settings.model_dump_json()]
            running.append(subprocess.Popen(command, stdout=file, stderr=file))
        return running[-1]

    yield start
    for process in running:
        process.terminate()
        process.wait()


def all_ended(pids: set[int]) -> bool:
    return not any(is_running(pid) for pid in pids)


def children_of(project: Project) -> set[int]:
    status = open_journal(project).read_status()
    pids = {status.get("envoy_pid"), *(server["pid"] for server in status.get("servers", []))}
    return {pid for pid in pids if pid}


def test_a_supervisor_with_an_altered_champion_ends_with_one_error(
    project: Project, backends: Backends, supervise: Callable[[], subprocess.Popen[bytes]]
) -> None:
    first = supervise()
    outcomes.wait_until_serving(project, GUARD_SECONDS)
    make_champion(project, A)
    first.terminate()
    first.wait()
    backends.altered.add(A)
    lines: list[str] = []
    with pytest.raises(IntegrityError, match="the champion cannot be served: a blob does not have its digest") as refused:
        run_supervisor(project, launcher=backends, notify=lines.append)
    assert refused.value.exit_code == 4
    assert "release verify" in refused.value.hint
    assert not [line for line in lines if line.startswith("serving on")]
    assert sum("cannot be served" in line for line in lines) == 1


@pytest.mark.slow
def test_a_rollout_is_completed_although_the_supervisor_is_killed_again_and_again(
    project: Project, supervise: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = supervise()
    outcomes.wait_until_serving(project, GUARD_SECONDS)
    make_champion(project, A)
    start_canary(project, B)
    for moment in (0.05, 0.7, 0.33, 1.1, 0.21, 0.52):
        time.sleep(moment)
        left = children_of(project)
        process.kill()
        process.wait()
        wait_for(functools.partial(all_ended, left))
        assert not open_journal(project).is_supervised()
        process = supervise()
        with Traffic(outcomes.wait_until_serving(project, GUARD_SECONDS)):
            time.sleep(0.3)
    with Traffic(outcomes.wait_until_serving(project, GUARD_SECONDS)) as traffic:
        assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "promoted"
    assert not traffic.failed()
    journal = open_journal(project).read()
    assert (journal.champion, journal.previous) == (B, A)
    names = [transition.to_state for transition in journal.transitions if transition.release == B]
    assert names == ["awaiting_ready", "awaiting_approval", "step-1", "baking", "promoted"], "each decision was made once"
    assert all(transition.applied_at for transition in journal.transitions)


@pytest.mark.slow
def test_a_decision_is_applied_by_the_next_supervisor_if_the_first_is_killed_right_after_it(
    project: Project, backends: Backends, supervise: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = supervise()
    outcomes.wait_until_serving(project, GUARD_SECONDS)
    make_champion(project, A)
    backends.set_mode(B, errors=1.0)
    start_canary(project, B)
    wait_for(lambda: statuses.read_status(project).state == "step-1")
    with Traffic(outcomes.wait_until_serving(project, GUARD_SECONDS)):
        wait_for(lambda: open_journal(project).read().state.phase == "rolled_back")
        process.kill()
        process.wait()
    process = supervise()
    with Traffic(outcomes.wait_until_serving(project, GUARD_SECONDS)) as traffic:
        wait_for(lambda: traffic.of(A) > 20)
    assert not traffic.failed()
    assert not traffic.of(B)
    wait_for(lambda: open_journal(project).read().transitions[-1].applied_at is not None)


def test_ctrl_c_leaves_no_process_behind(project: Project, supervise: Callable[[], subprocess.Popen[bytes]]) -> None:
    process = supervise()
    outcomes.wait_until_serving(project, GUARD_SECONDS)
    make_champion(project, A)
    wait_for(lambda: len(children_of(project)) == 2)
    left = children_of(project)
    process.send_signal(signal.SIGINT)
    assert process.wait(GUARD_SECONDS) == 0
    assert not any(is_running(pid) for pid in left)
    assert statuses.read_status(project).url == ""
    assert statuses.read_status(project).champion == A
