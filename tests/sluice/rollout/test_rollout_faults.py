"""Asking real servers about what the canary rejected and about what failed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from rollout_backends import name_release, wait_for

from sluice.rollout.decisions.blame import NO_REJECTIONS, Rejections
from sluice.rollout.faults import REJECTED, HttpFaultFinder

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollout_backends import Backend, Backends

A, B = name_release("a"), name_release("b")


@pytest.fixture
def serve(backends: Backends, spawned: list[Backend]) -> Callable[..., str]:
    """Start a server with a mode, and return its URL."""

    def start(release: str, **mode: object) -> str:
        backends.set_mode(release, **mode)
        backend = backends.spawn(release, backends.prepare(release))
        spawned.append(backend)
        wait_for(backend.poll_ready)
        return f"http://127.0.0.1:{backend.port}"

    return start


def send(url: str, body: str, times: int = 1) -> None:
    for _ in range(times):
        httpx.post(f"{url}/api/v1.0/predictions", content=body, headers={"content-type": "application/json"}, trust_env=False)


def find(finder: HttpFaultFinder, champions: list[str], canary: str, *, rollout: str = "r") -> Rejections:
    """Return what one whole pass finds."""
    finder._next_pass = 0.0
    before = finder.find_rejections(rollout, champions, [canary])
    assert finder._thread is not None
    finder._thread.join()
    finder._next_pass = time.monotonic() + 1000
    return before + finder.find_rejections(rollout, champions, [canary])


def test_stable_is_asked_about_what_the_canary_rejected(serve: Callable[..., str]) -> None:
    stable, canary = serve(A), serve(B, rejects="plan")
    finder = HttpFaultFinder()
    assert find(finder, [stable], canary) == NO_REJECTIONS
    send(canary, '{"plan": "gold", "age": 31}', 3)
    send(canary, "not JSON", 5)
    assert find(finder, [stable], canary) == Rejections(rejected=8, asked=8, accepted=3)
    assert find(finder, [stable], canary) == NO_REJECTIONS, "nothing is counted twice"


def test_stable_is_asked_a_bounded_sample_of_many_rejections(serve: Callable[..., str]) -> None:
    stable, canary = serve(A), serve(B, rejects="plan")
    finder = HttpFaultFinder()
    find(finder, [stable], canary)
    send(canary, '{"plan": 1}', 50)
    found = find(finder, [stable], canary)
    assert (found.rejected, found.asked, found.accepted, found.blamed) == (50, 8, 8, 50)


def test_a_restarted_controller_does_not_count_rejections_again(serve: Callable[..., str]) -> None:
    stable, canary = serve(A), serve(B, rejects="plan")
    send(canary, '{"plan": 1}', 4)
    assert find(HttpFaultFinder(), [stable], canary) == NO_REJECTIONS


def test_a_stable_that_does_not_answer_leaves_rejections_undecided(serve: Callable[..., str]) -> None:
    canary = serve(B, rejects="plan")
    finder = HttpFaultFinder()
    find(finder, ["http://127.0.0.1:9"], canary)
    send(canary, '{"plan": 1}', 4)
    assert find(finder, ["http://127.0.0.1:9"], canary) == Rejections(rejected=4)


def test_a_request_that_stable_fails_is_not_one_that_it_accepts(serve: Callable[..., str]) -> None:
    stable, canary = serve(A, errors=1.0), serve(B, rejects="plan")
    finder = HttpFaultFinder()
    find(finder, [stable], canary)
    send(canary, '{"plan": 1}', 4)
    assert find(finder, [stable], canary) == Rejections(rejected=4, asked=4)


def test_a_server_that_keeps_no_faults_is_no_error(serve: Callable[..., str]) -> None:
    finder = HttpFaultFinder()
    assert find(finder, [serve(A)], serve(B, faults=False)) == NO_REJECTIONS
    assert finder.list_errors("r") == ()


def test_a_round_does_not_wait_for_a_server_that_hangs(serve: Callable[..., str]) -> None:
    stable, canary = serve(A, delay=30.0), serve(B, rejects="plan")
    finder = HttpFaultFinder()
    find(finder, [stable], canary)
    send(canary, '{"plan": 1}', 4)
    finder._next_pass = 0.0
    started = time.monotonic()
    finder.find_rejections("r", [stable], [canary])
    finder.find_rejections("r", [stable], [canary])
    assert time.monotonic() - started < 0.5
    assert finder._thread is not None
    finder._thread.join()


def test_errors_are_listed_by_kind_with_an_example_without_values(serve: Callable[..., str]) -> None:
    stable, canary = serve(A), serve(B, rejects="plan")
    finder = HttpFaultFinder()
    find(finder, [stable], canary)
    send(canary, '{"data": {"names": ["plan"], "ndarray": [["gold"]]}, "plan": 1}', 2)
    find(finder, [stable], canary)
    (error,) = finder.list_errors("r")
    assert (error.kind, error.count, error.text, error.example) == (REJECTED, 2, "column '…' is missing", "plan: text")
    assert finder.list_errors("another rollout") == ()


def test_a_canary_that_returns_a_strange_document_fills_neither_the_memory_nor_the_journal(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stable, canary = serve(A), serve(B, rejects="plan")
    finder = HttpFaultFinder()
    find(finder, [stable], canary)
    send(canary, '{"plan": 1}')
    original = httpx.Response.json

    def change(answer: httpx.Response) -> Any:
        document = original(answer)
        if "failed" in document:
            strange = {"kind": "k" * 9000, "count": 1, "text": "\x1b[2Jt" * 9000, "example": [["n" * 9000, "v"]] * 500}
            document["failed"] = [strange] * 5000
            for one in document["rejected"]["requests"]:
                one["text"] = "\x1b" + "r" * 9000
        return document

    monkeypatch.setattr(httpx.Response, "json", change)
    find(finder, [stable], canary)
    errors = finder.list_errors("r")
    assert len(errors) <= 5
    assert sum(len(one.kind) + len(one.text) + len(one.example) for one in errors) < 6000
    assert all(text.isprintable() for one in errors for text in (one.kind, one.text, one.example))
