"""The supervisor with a real Envoy and real HTTP servers: rollouts under traffic, crashes and refusals."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from guards import GUARD_SECONDS
from laptop_rollouts import ask_admin, make_champion, start_canary
from rollout_backends import Backends, name_release, wait_for
from rollout_traffic import Traffic

from sluice.errors import NotServingError, PortInUseError, ServiceError, StateError
from sluice.rollout.platforms.laptop.envoy import EnvoyProxy
from sluice.rollout.platforms.laptop.ports import reserve_port
from sluice.rollout.platforms.laptop.supervisor import run_supervisor
from sluice.rollout.platforms.selection import open_journal
from sluice.rollout.requests import approvals, commands, histories, outcomes, starts, statuses

if TYPE_CHECKING:
    from sluice.project.projects import Project

pytestmark = pytest.mark.usefixtures("gate_passed")

A, B, C = (name_release(letter) for letter in "abc")


def test_a_good_canary_is_promoted_under_traffic_and_no_request_fails(project: Project, backends: Backends, serving: str) -> None:
    assert httpx.post(f"{serving}/api/v1.0/predictions", json={}, trust_env=False).status_code == 503
    make_champion(project, A)
    with Traffic(serving) as traffic:
        start_canary(project, B)
        assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "promoted"
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
    wait_for(lambda: backends.tag_moves[-1] == (B, A))  # the supervisor moves the tags after it has journaled the promotion
    servers = {server["release"]: server["ready"] for server in status.servers}
    assert servers == {A: True, B: True}, "N-1 keeps its server"


def test_a_broken_canary_is_rolled_back_and_stable_never_fails(project: Project, backends: Backends, serving: str) -> None:
    make_champion(project, A)
    backends.set_mode(B, errors=0.5, status=500)
    with Traffic(serving) as traffic:
        start_canary(project, B)
        assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "rolled_back"
        numbers = histories.read_rollout(project, B)["numbers"]
        zero = numbers["applied_at"]
        wait_for(lambda: traffic.of(A, since=zero + 0.3) > 20)
    assert set(traffic.failed()) == {B}, "the only failed requests are the canary's own"
    # An answer that was under way may arrive later, but no new request reaches B.
    assert not traffic.of(B, since=zero + 0.3)
    assert numbers["decision_to_zero_seconds"] >= 0
    assert numbers["e_value"] >= 100
    assert statuses.read_status(project).champion == A
    assert approvals.find_approval(project, B) is None, "the approval is used up"


def test_a_rollback_by_command_restores_n_minus_1_and_no_request_fails(
    project: Project, backends: Backends, serving: str
) -> None:
    make_champion(project, A)
    make_champion(project, B)
    with Traffic(serving) as traffic:
        wait_for(lambda: traffic.of(B) > 20)
        assert commands.check_rollback(project)[0] == A
        done = commands.rollback(project, by="kim")
        wait_for(lambda: traffic.of(A, since=done["applied_at"] + 0.3) > 20)
    assert done["to"] == A
    assert done["left"] == B
    assert done["seconds"] >= 0
    assert not traffic.failed()
    assert not traffic.of(B, since=done["applied_at"] + 0.3)
    assert statuses.read_status(project).champion == A
    assert backends.tag_moves[-1] == (A, None)
    with pytest.raises(StateError, match="no N-1"):
        commands.rollback(project, by="kim")
    period = histories.read_period(project, since=done["decided_at"], until=time.time())
    assert (period["outcome"], period["target"], period["stable"]) == ("rolled_back", B, A)
    assert period["numbers"]["decision_to_zero_seconds"] >= 0


def test_no_traffic_moves_without_an_approval(project: Project, serving: str) -> None:
    make_champion(project, A)
    starts.request_rollout(project, B, by="bob")
    wait_for(lambda: statuses.read_status(project).state == "awaiting_approval")
    with pytest.raises(StateError, match="takes no canary traffic"):
        commands.promote(project, B, by="bob", why="a test")
    with pytest.raises(StateError, match="is running"):
        starts.request_rollout(project, C, by="bob")
    starts.request_rollout(project, B, by="bob")
    wait_for(lambda: "approval" in statuses.read_status(project).reason)
    assert statuses.read_status(project).seen_weights == {A: 100}
    commands.abort(project, by="kim")
    assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "aborted"


@pytest.mark.slow
class TestSharedIncident:
    @pytest.fixture
    def project(self, project: Project) -> Project:
        """At most one in 10,000 healthy canaries is rolled back with this threshold, so that the test does not fail by chance."""
        table = project.settings.rollout.model_copy(update={"evidence": 10_000.0, "margin": 0.001})
        return type(project)(project.root, project.settings.model_copy(update={"rollout": table}))

    def test_the_supervisor_rolls_nothing_back(self, project: Project, backends: Backends, serving: str) -> None:
        make_champion(project, A)
        with Traffic(serving) as traffic:
            for digest in (A, B):
                backends.set_mode(digest, errors=0.3)
            start_canary(project, B)
            wait_for(lambda: traffic.of(B) > 150)
            status = statuses.read_status(project)
            assert (status.target, status.state) == (B, "step-1")
            assert status.evidence is not None
            assert status.evidence["canary_errors"] > 20
            backends.set_mode(A)
            assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "rolled_back", (
                "the canary is rolled back once it fails alone"
            )


def test_a_canary_that_cannot_be_started_is_rejected(project: Project, backends: Backends, serving: str) -> None:
    make_champion(project, A)
    backends.broken.add(B)
    start_canary(project, B)
    assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "rejected"
    assert "cannot be unpacked" in histories.read_rollout(project, B)["reason"]
    assert statuses.read_status(project).weights == {A: 100, B: 0}


def test_a_server_that_is_killed_is_restarted(project: Project, serving: str) -> None:
    make_champion(project, A)
    first = statuses.read_status(project).servers[0]["pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(
        lambda: (
            statuses.read_status(project).servers[0]["pid"] not in {None, first}
            and statuses.read_status(project).servers[0]["ready"]
        )
    )
    wait_for(lambda: httpx.post(f"{serving}/api/v1.0/predictions", json={}, trust_env=False).status_code == 200)


@pytest.mark.slow
def test_a_crash_looping_canary_is_rolled_back(project: Project, backends: Backends, serving: str) -> None:
    make_champion(project, A)
    start_canary(project, B)
    wait_for(lambda: statuses.read_status(project).state == "step-1")

    def kill_canary() -> bool:
        for server in statuses.read_status(project).servers:
            if server["release"] == B and server["pid"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(server["pid"], signal.SIGKILL)
        return statuses.read_status(project).target is None

    wait_for(kill_canary)
    assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "rolled_back"
    wait_for(lambda: statuses.read_status(project).seen_weights == {A: 100})  # the status is written at the end of the round


@pytest.mark.slow
def test_an_envoy_that_is_killed_restarts_with_the_weights_of_the_journal(project: Project, serving: str) -> None:
    make_champion(project, A)
    start_canary(project, B)
    wait_for(lambda: statuses.read_status(project).seen_weights == {A: 80, B: 20})
    old = open_journal(project).read_status()["envoy_pid"]
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: open_journal(project).read_status().get("envoy_pid") not in {None, old})
    wait_for(lambda: statuses.read_status(project).seen_weights == {A: 80, B: 20})
    with Traffic(serving) as traffic:
        assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "promoted"
    assert not traffic.failed()


def test_a_second_supervisor_is_refused(project: Project, backends: Backends, serving: str) -> None:
    with pytest.raises(StateError, match=f"running already \\(pid {os.getpid()}\\)"):
        run_supervisor(project, launcher=backends)
    assert statuses.read_status(project).url == serving


def test_a_port_in_use_is_reported_before_anything_is_started(project: Project, backends: Backends) -> None:
    with reserve_port(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)):
            run_supervisor(project, port=port, launcher=backends)
    assert not (project.state / "rollout" / "envoy").exists()
    assert not open_journal(project).is_supervised()


def test_a_problem_after_the_start_is_in_the_status_until_it_is_solved(
    project: Project, serving: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_champion(project, A)

    def fail(*_: object) -> None:
        raise ServiceError("the proxy's admin interface does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(EnvoyProxy, "read_counts", fail)
        wait_for(lambda: "does not answer" in statuses.read_status(project).trouble)
    wait_for(lambda: statuses.read_status(project).trouble == "")


def test_requests_without_a_supervisor_are_refused(project: Project) -> None:
    for request in (
        lambda: starts.request_rollout(project, A, by="bob"),
        lambda: starts.check_request(project, A),
        lambda: commands.rollback(project, by="bob"),
        lambda: commands.check_rollback(project),
        lambda: commands.abort(project, by="bob"),
        lambda: commands.promote(project, A, by="bob", why="a test"),
        lambda: outcomes.wait_until_serving(project, 0.1),
    ):
        with pytest.raises(NotServingError):
            request()
    assert statuses.read_status(project).state == "idle"
    assert histories.read_transitions(project) == []
    approvals.approve(project, A, by="eve")
    assert approvals.find_approval(project, A) is not None
    with pytest.raises(StateError, match="needs the name"):
        approvals.approve(project, A, by=" ")
    with pytest.raises(StateError, match="never rolled out"):
        histories.read_rollout(project, A)
    with pytest.raises(StateError, match="was requested"):
        outcomes.wait_for_outcome(project, A, timeout=1)


def test_no_outcome_in_time_is_an_error(project: Project, serving: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "DEADLINE_MARGIN_SECONDS", 0.0)
    starts.request_rollout(project, A, by="bob")
    with pytest.raises(ServiceError, match="did not end within"):
        outcomes.wait_for_outcome(project, A, timeout=0.5)


@pytest.mark.slow
def test_a_proxy_that_does_not_do_what_the_journal_says_is_put_right(project: Project, serving: str, lines: list[str]) -> None:
    make_champion(project, A)

    def is_answered() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.post(f"{serving}/api/v1.0/predictions", json={}, trust_env=False).status_code == 200
        return False

    def read_admin_socket() -> str:
        return statuses.read_status(project).admin_socket

    for path in ("/drain_listeners", "/healthcheck/fail", "/quitquitquit"):
        before, admin = len(lines), read_admin_socket()
        ask_admin(admin, path, "POST")
        wait_for(lambda before=before: any("it starts again" in line for line in lines[before:]))
        wait_for(is_answered)
        wait_for(lambda admin=admin: read_admin_socket() != admin)
    wait_for(lambda: statuses.read_status(project).seen_weights == {A: 100})
    ask_admin(read_admin_socket(), "/runtime_modify?sluice.weights.slot-3=100", "POST")
    wait_for(lambda: "slot-3" not in read_weighted_slots(project))
    assert is_answered()


def read_weighted_slots(project: Project) -> set[str]:
    """Return the slots that Envoy gives traffic to."""
    entries = ask_admin(statuses.read_status(project).admin_socket, "/runtime?format=json").json()["entries"]
    return {key.rpartition(".")[2] for key, entry in entries.items() if int(entry["final_value"])}
