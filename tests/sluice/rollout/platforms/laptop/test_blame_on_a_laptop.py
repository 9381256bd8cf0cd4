"""With a real Envoy: outsiders never move a healthy canary, and a canary that rejects what stable accepts is rolled back."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from guards import GUARD_SECONDS
from laptop_rollouts import make_champion, start_canary
from rollout_backends import Backends, name_release, wait_for
from rollout_traffic import Traffic

from sluice.errors import RefusedError
from sluice.project.projects import Project
from sluice.rollout.requests import histories, outcomes, starts, statuses
from sluice.scoring.faults import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


pytestmark = pytest.mark.usefixtures("gate_passed")

A, B = name_release("a"), name_release("b")
PATH = "/api/v1.0/predictions"
REQUEST = {"plan": "gold", "age": 31}


@pytest.fixture
def project(project: Project, request: pytest.FixtureRequest) -> Project:
    """The project, with the changes of ``[rollout]`` that a test names."""
    rollout = project.settings.rollout.model_copy(update=getattr(request, "param", {}))
    return Project(project.root, project.settings.model_copy(update={"rollout": rollout}))


@pytest.fixture
def attack(serving: str) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Start an attacker that does something five times a second, as soon as the test says so."""
    stop, threads = threading.Event(), []

    def start(act: Callable[[], object]) -> None:
        def run() -> None:
            while not stop.wait(0.2):
                act()

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def send_malformed(url: str) -> None:
    httpx.post(url + PATH, content=b"not JSON", headers={"content-type": "application/json"}, trust_env=False)


def send_oversized(url: str) -> None:
    httpx.post(url + PATH, content=b" " * (MAX_REQUEST_BYTES + 1), trust_env=False, timeout=30)


def go_away(url: str) -> None:
    """Send half of a body, or a whole request, and close the connection without waiting for an answer."""
    address = httpx.URL(url)
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n".encode()
    for body in (b"{", b"{}"):
        with socket.create_connection((str(address.host), int(address.port or 0))) as connection:
            connection.sendall(head + body)


@pytest.mark.slow
@pytest.mark.parametrize("act", [send_malformed, send_oversized, go_away])
def test_what_outsiders_send_does_not_move_a_healthy_canary(
    project: Project, serving: str, attack: Callable[..., None], act: Callable[[str], object]
) -> None:
    make_champion(project, A)
    attack(lambda: act(serving))
    with Traffic(serving, [REQUEST]) as traffic:
        start_canary(project, B)
        assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "promoted"
    numbers = histories.read_rollout(project, B)["numbers"]
    assert (numbers["canary_errors"], numbers["stable_errors"]) == (0, 0)
    assert numbers["e_value"] < 1.5
    assert not traffic.failed()


@pytest.mark.slow
@pytest.mark.parametrize("project", [{"holdback": 0, "bake_seconds": 4.0}], indirect=True)
def test_outsiders_cannot_end_the_bake_where_no_stable_answers_at_the_same_time(
    project: Project, serving: str, attack: Callable[..., None]
) -> None:
    make_champion(project, A)
    with Traffic(serving, [REQUEST]):
        start_canary(project, B)
        wait_for(lambda: statuses.read_status(project).state == "baking")
        for _ in range(4):
            attack(lambda: send_malformed(serving))
        assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "promoted"
    numbers = histories.read_rollout(project, B)["numbers"]
    assert numbers["canary_rejected"] >= 20
    assert numbers["canary_errors"] == 0


def test_a_canary_that_rejects_what_stable_accepts_is_rolled_back(project: Project, backends: Backends, serving: str) -> None:
    make_champion(project, A)
    backends.set_mode(B, rejects="plan")
    with Traffic(serving, [REQUEST]) as traffic:
        start_canary(project, B)
        assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "rolled_back"
        wait_for(lambda: traffic.answers[-1][2] == A)
    outcomes.wait_for_explanation(project, B)
    record = histories.read_rollout(project, B)
    assert "e-value" in record["reason"]
    assert record["failure"]["errors"][0]["kind"] == "rejected, although stable accepts it"
    assert record["numbers"]["canary_errors"] >= 3
    assert set(traffic.failed()) == {B}


@pytest.mark.slow
def test_a_canary_that_rejects_some_of_what_stable_accepts_is_rolled_back_under_attack(
    project: Project, backends: Backends, serving: str, attack: Callable[..., None]
) -> None:
    make_champion(project, A)
    backends.set_mode(B, rejects="new")
    attack(lambda: send_malformed(serving))
    with Traffic(serving, [REQUEST, REQUEST | {"new": 1}, REQUEST]):
        start_canary(project, B)
        assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "rolled_back"
    numbers = histories.read_rollout(project, B)["numbers"]
    assert numbers["canary_errors"] > numbers["stable_errors"]


@pytest.mark.slow
def test_a_canary_whose_server_cannot_say_what_it_rejected_does_not_advance(
    project: Project, backends: Backends, serving: str
) -> None:
    make_champion(project, A)
    backends.set_mode(B, rejects="new", faults=False)
    with Traffic(serving, [REQUEST, REQUEST | {"new": 1}]):
        start_canary(project, B)
        wait_for(lambda: "stable could not be asked" in statuses.read_status(project).trouble, seconds=60.0)
        began = time.time()
        wait_for(lambda: (statuses.read_status(project).evidence or {}).get("step_canary_requests", 0) > 150)
        assert statuses.read_status(project).state == "step-1", f"it has advanced {time.time() - began:.1f} s later"


@pytest.mark.slow
def test_a_rollback_says_what_failed_without_values_of_requests(project: Project, backends: Backends, serving: str) -> None:
    make_champion(project, A)
    backends.set_mode(B, errors=1.0, status=500)
    with Traffic(serving, [REQUEST]):
        start_canary(project, B)
        assert outcomes.wait_for_outcome(project, B, timeout=GUARD_SECONDS) == "rolled_back"
    outcomes.wait_for_explanation(project, B)
    failure = statuses.read_status(project).failure or {}
    (error,) = failure["errors"]
    assert error["kind"] == "ValueError in model.py:7 (predict)"
    assert error["count"] >= 3
    assert (error["text"], error["example"]) == ("no such plan: '…'", "plan: text, age: number")
    assert failure["statuses"]["500"] == error["count"]
    assert any("more lines are hidden" in line for line in failure["lines"])
    assert histories.read_transitions(project)[-1]["failure"] == failure
    assert histories.read_rollout(project, B)["failure"] == failure
    assert "gold" not in (project.root / ".sluice/rollout/journal.json").read_text()
    with pytest.raises(RefusedError, match="is condemned, because its canary failed"):
        starts.request_rollout(project, B, by="ci")
    starts.request_rollout(project, B, by="ann", again="the test says so")
    assert statuses.read_status(project).target == B
