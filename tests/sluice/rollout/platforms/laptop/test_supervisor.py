"""The supervisor with a real Envoy and real HTTP servers: rollouts under traffic, crashes, kills."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from rollout_backends import Backends, is_running, name_release, wait_for
from rollout_traffic import Traffic

from sluice.errors import IntegrityError, NotServingError, PortInUseError, ServiceError, StateError
from sluice.rollout.platforms.laptop.envoy import EnvoyProxy
from sluice.rollout.platforms.laptop.ports import reserve_port
from sluice.rollout.platforms.laptop.supervisor import run_supervisor
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import approvals, commands, histories, outcomes, starts, statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluice.project.projects import Project

pytestmark = pytest.mark.usefixtures("gate_passed")

A, B, C, D = (name_release(letter) for letter in "abcd")
CHILD = Path(__file__).parents[2] / "rollout_child.py"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def serving(project: Project, backends: Backends, said: list[str]) -> Iterator[str]:
    """A supervisor in a thread of this process; gives the proxy's URL."""
    stop = threading.Event()
    thread = threading.Thread(
        target=run_supervisor, args=(project,), kwargs={"launcher": backends, "stop": stop, "notify": said.append}
    )
    thread.start()
    try:
        yield outcomes.wait_until_serving(project, 20)
    finally:
        stop.set()
        thread.join()


def release(project: Project, digest: str) -> None:
    """Make a release champion: approved, and on a person's word where there is a champion to compare with."""
    approvals.approve(project, digest, by="eve")
    starts.request_rollout(project, digest, by="bob")
    if statuses.read_status(project).champion:
        wait_for(lambda: statuses.read_status(project).state.startswith(("step", "baking")))
        commands.promote(project, digest, by="eve")
    assert outcomes.wait_for_outcome(project, digest, timeout=30) == "promoted"


def start_canary(project: Project, digest: str) -> None:
    approvals.approve(project, digest, by="eve")
    starts.request_rollout(project, digest, by="bob")


def test_a_good_canary_is_promoted_under_traffic_and_nothing_fails(project: Project, backends: Backends, serving: str) -> None:
    assert httpx.post(f"{serving}/api/v1.0/predictions", json={}, trust_env=False).status_code == 503
    release(project, A)
    with Traffic(serving) as traffic:
        start_canary(project, B)
        assert outcomes.wait_for_outcome(project, B, timeout=60) == "promoted"
        wait_for(lambda: traffic.answers[-1][2] == B)
    status = statuses.read_status(project)
    assert (status.champion, status.previous, status.target) == (B, A, None)
    assert status.weights == {A: 0, B: 100}
    assert not traffic.failed()
    record = histories.read_rollout(project, B)
    assert [line["to"] for line in record["transitions"]] == [
        "awaiting_ready",
        "awaiting_approval",
        "step-1",
        "baking",
        "promoted",
    ]
    assert all(line["applied_at"] >= line["decided_at"] for line in record["transitions"])
    assert record["numbers"]["step_canary_requests"] >= 60
    assert {A, B} <= set(record["samples"][-1]["arms"])
    assert backends.marked[-1] == (B, A)
    servers = {server["release"]: server["ready"] for server in status.servers}
    assert servers == {A: True, B: True}, "N-1 stays warm"


def test_a_broken_canary_is_rolled_back_and_stable_never_fails(project: Project, backends: Backends, serving: str) -> None:
    release(project, A)
    backends.set_mode(B, errors=0.5, status=500)
    with Traffic(serving) as traffic:
        start_canary(project, B)
        assert outcomes.wait_for_outcome(project, B, timeout=60) == "rolled_back"
        numbers = histories.read_rollout(project, B)["numbers"]
        zero = numbers["applied_at"]
        wait_for(lambda: traffic.of(A, since=zero + 0.3) > 20)
    assert set(traffic.failed()) == {B}, "the only failed requests are the canary's own"
    # An answer that was under way may come after; a new one is never sent there.
    assert not traffic.of(B, since=zero + 0.3)
    assert numbers["decision_to_zero_seconds"] < 1.0
    assert numbers["e_value"] >= 100
    assert statuses.read_status(project).champion == A
    assert approvals.find_approval(project, B) is None, "the approval is used up"


def test_rollback_by_hand_restores_n_minus_1_without_a_failure(project: Project, backends: Backends, serving: str) -> None:
    release(project, A)
    release(project, B)
    with Traffic(serving) as traffic:
        wait_for(lambda: traffic.of(B) > 20)
        assert commands.check_rollback(project) == A
        done = commands.rollback(project, by="kim")
        wait_for(lambda: traffic.of(A, since=done["applied_at"] + 0.3) > 20)
    assert done["to"] == A
    assert done["left"] == B
    assert done["seconds"] < 1.0
    assert not traffic.failed()
    assert not traffic.of(B, since=done["applied_at"] + 0.3)
    assert statuses.read_status(project).champion == A
    assert backends.marked[-1] == (A, None)
    with pytest.raises(StateError, match="no N-1"):
        commands.rollback(project, by="kim")
    span = histories.read_period(project, since=done["decided_at"], until=time.time())
    assert (span["outcome"], span["target"], span["stable"]) == ("rolled_back", B, A)
    assert span["numbers"]["decision_to_zero_seconds"] < 1.0


def test_nothing_moves_without_an_approval(project: Project, serving: str) -> None:
    release(project, A)
    starts.request_rollout(project, B, by="bob")
    wait_for(lambda: statuses.read_status(project).state == "awaiting_approval")
    with pytest.raises(StateError, match="takes no canary traffic"):
        commands.promote(project, B, by="bob")
    with pytest.raises(StateError, match="is running"):
        starts.request_rollout(project, C, by="bob")
    starts.request_rollout(project, B, by="bob")
    wait_for(lambda: "approval" in statuses.read_status(project).reason)
    assert statuses.read_status(project).seen_weights == {A: 100}
    commands.abort(project, by="kim")
    assert outcomes.wait_for_outcome(project, B, timeout=10) == "aborted"


@pytest.mark.slow
class TestSharedIncident:
    @pytest.fixture
    def project(self, project: Project) -> Project:
        """The chance that a healthy canary is failed is at most one in 10,000: this test must not fail by bad luck."""
        table = project.settings.rollout.model_copy(update={"evidence": 10_000.0, "margin": 0.001})
        return type(project)(project.root, project.settings.model_copy(update={"rollout": table}))

    def test_it_rolls_nothing_back(self, project: Project, backends: Backends, serving: str) -> None:
        release(project, A)
        with Traffic(serving) as traffic:
            for digest in (A, B):
                backends.set_mode(digest, errors=0.3)
            start_canary(project, B)
            wait_for(lambda: traffic.of(B) > 150, seconds=60)
            status = statuses.read_status(project)
            assert (status.target, status.state) == (B, "step-1")
            assert status.evidence is not None
            assert status.evidence["canary_errors"] > 20
            backends.set_mode(A)
            assert outcomes.wait_for_outcome(project, B, timeout=60) == "rolled_back", "alone with its errors it goes"


def test_a_canary_that_cannot_be_started_is_rejected(project: Project, backends: Backends, serving: str) -> None:
    release(project, A)
    backends.broken.add(B)
    start_canary(project, B)
    assert outcomes.wait_for_outcome(project, B, timeout=20) == "rejected"
    assert "not sound" in histories.read_rollout(project, B)["reason"]
    assert statuses.read_status(project).weights == {A: 100, B: 0}


def test_a_server_that_is_killed_is_started_again(project: Project, serving: str) -> None:
    release(project, A)
    first = statuses.read_status(project).servers[0]["pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(
        lambda: (
            statuses.read_status(project).servers[0]["pid"] not in {None, first}
            and statuses.read_status(project).servers[0]["ready"]
        )
    )
    wait_for(lambda: httpx.post(f"{serving}/api/v1.0/predictions", json={}, trust_env=False).status_code == 200)


def test_a_crash_looping_canary_is_rolled_back(project: Project, backends: Backends, serving: str) -> None:
    release(project, A)
    start_canary(project, B)
    wait_for(lambda: statuses.read_status(project).state == "step-1")

    def kill_canary() -> bool:
        for server in statuses.read_status(project).servers:
            if server["release"] == B and server["pid"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(server["pid"], signal.SIGKILL)
        return statuses.read_status(project).target is None

    wait_for(kill_canary, seconds=30)
    assert outcomes.wait_for_outcome(project, B, timeout=1) == "rolled_back"
    wait_for(lambda: statuses.read_status(project).seen_weights == {A: 100})  # said at the end of the round


def test_an_envoy_that_is_killed_comes_back_with_the_journals_weights(project: Project, serving: str) -> None:
    release(project, A)
    start_canary(project, B)
    wait_for(lambda: statuses.read_status(project).seen_weights == {A: 80, B: 20})
    old = open_journal(project).read_status()["envoy_pid"]
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: open_journal(project).read_status().get("envoy_pid") not in {None, old})
    wait_for(lambda: statuses.read_status(project).seen_weights == {A: 80, B: 20})
    with Traffic(serving) as traffic:
        assert outcomes.wait_for_outcome(project, B, timeout=60) == "promoted"
    assert not traffic.failed()


def test_a_second_supervisor_gets_a_clear_error(project: Project, backends: Backends, serving: str) -> None:
    with pytest.raises(StateError, match=f"running already \\(pid {os.getpid()}\\)"):
        run_supervisor(project, launcher=backends)
    assert statuses.read_status(project).url == serving


def test_a_port_in_use_is_said_before_anything_is_started(project: Project, backends: Backends) -> None:
    with reserve_port(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)):
            run_supervisor(project, port=port, launcher=backends)
    assert not (project.state / "rollout" / "envoy").exists()
    assert not open_journal(project).is_supervised()


def test_an_altered_champion_ends_the_start_once(
    project: Project, backends: Backends, supervise: Callable[[], subprocess.Popen[bytes]]
) -> None:
    first = supervise()
    outcomes.wait_until_serving(project, 20)
    release(project, A)
    first.terminate()
    first.wait()
    backends.altered.add(A)
    said: list[str] = []
    with pytest.raises(IntegrityError, match="the champion cannot be served: a blob does not have its digest") as refused:
        run_supervisor(project, launcher=backends, notify=said.append)
    assert refused.value.exit_code == 4
    assert "release verify" in refused.value.hint
    assert not [line for line in said if line.startswith("serving on")]
    assert sum("cannot be served" in line for line in said) == 1


def test_trouble_after_the_start_is_in_the_status_until_it_is_over(
    project: Project, serving: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(project, A)

    def fail(*_: object) -> None:
        raise ServiceError("the proxy's admin interface does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(EnvoyProxy, "read_counts", fail)
        wait_for(lambda: "does not answer" in statuses.read_status(project).trouble)
    wait_for(lambda: statuses.read_status(project).trouble == "")


def test_requests_without_a_supervisor_say_so(project: Project) -> None:
    for ask in (
        lambda: starts.request_rollout(project, A, by="bob"),
        lambda: starts.check_request(project, A),
        lambda: commands.rollback(project, by="bob"),
        lambda: commands.check_rollback(project),
        lambda: commands.abort(project, by="bob"),
        lambda: commands.promote(project, A, by="bob"),
        lambda: outcomes.wait_until_serving(project, 0.1),
    ):
        with pytest.raises(NotServingError):
            ask()
    assert statuses.read_status(project).state == "idle"
    assert histories.read_transitions(project) == []
    approvals.approve(project, A, by="eve")
    assert approvals.find_approval(project, A) is not None
    with pytest.raises(StateError, match="needs the name"):
        approvals.approve(project, A, by=" ")
    with pytest.raises(StateError, match="never rolled out"):
        histories.read_rollout(project, A)
    with pytest.raises(StateError, match="nobody requested"):
        outcomes.wait_for_outcome(project, A, timeout=1)


def test_no_outcome_in_time_is_an_error(project: Project, serving: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "DEADLINE_MARGIN_SECONDS", 0.0)
    starts.request_rollout(project, A, by="bob")
    with pytest.raises(ServiceError, match="did not end within"):
        outcomes.wait_for_outcome(project, A, timeout=0.5)


@pytest.fixture
def supervise(project: Project, backends: Backends) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a supervisor in a process of its own."""
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


def none_runs(pids: set[int]) -> bool:
    return not any(is_running(pid) for pid in pids)


def children_of(project: Project) -> set[int]:
    status = open_journal(project).read_status()
    pids = {status.get("envoy_pid"), *(server["pid"] for server in status.get("servers", []))}
    return {pid for pid in pids if pid}


@pytest.mark.slow
def test_a_supervisor_killed_at_random_points_converges(
    project: Project, supervise: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = supervise()
    outcomes.wait_until_serving(project, 20)
    release(project, A)
    start_canary(project, B)
    for moment in (0.05, 0.7, 0.33, 1.1, 0.21, 0.52):
        time.sleep(moment)
        left = children_of(project)
        process.kill()
        process.wait()
        wait_for(functools.partial(none_runs, left))
        assert not open_journal(project).is_supervised()
        process = supervise()
        with Traffic(outcomes.wait_until_serving(project, 30)):
            time.sleep(0.3)
    with Traffic(outcomes.wait_until_serving(project, 30)) as traffic:
        assert outcomes.wait_for_outcome(project, B, timeout=60) == "promoted"
    assert not traffic.failed()
    journal = open_journal(project).read()
    assert (journal.champion, journal.previous) == (B, A)
    names = [transition.to_state for transition in journal.transitions if transition.release == B]
    assert names == ["awaiting_ready", "awaiting_approval", "step-1", "baking", "promoted"], "each decision was taken once"
    assert all(transition.applied_at for transition in journal.transitions)


def test_a_supervisor_killed_right_after_a_decision_applies_it_when_it_is_back(
    project: Project, backends: Backends, supervise: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = supervise()
    outcomes.wait_until_serving(project, 20)
    release(project, A)
    backends.set_mode(B, errors=1.0)
    start_canary(project, B)
    wait_for(lambda: statuses.read_status(project).state == "step-1")
    with Traffic(outcomes.wait_until_serving(project, 20)):
        wait_for(lambda: open_journal(project).read().state.phase == "rolled_back")
        process.kill()
        process.wait()
    process = supervise()
    with Traffic(outcomes.wait_until_serving(project, 20)) as traffic:
        wait_for(lambda: traffic.of(A) > 20)
    assert not traffic.failed()
    assert not traffic.of(B)
    wait_for(lambda: open_journal(project).read().transitions[-1].applied_at is not None)


def test_ctrl_c_leaves_nothing(project: Project, supervise: Callable[[], subprocess.Popen[bytes]]) -> None:
    process = supervise()
    outcomes.wait_until_serving(project, 20)
    release(project, A)
    wait_for(lambda: len(children_of(project)) == 2)
    left = children_of(project)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert not any(is_running(pid) for pid in left)
    assert statuses.read_status(project).url == ""
    assert statuses.read_status(project).champion == A
