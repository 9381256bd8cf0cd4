"""The shadow: the judgement of the comparison, and the requests to the canary over real HTTP."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from guards import GUARD_SECONDS

from sluice.errors import ServiceError
from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.interim_looks import next_look
from sluice.rollout.decisions.shadow_comparisons import NO_COMPARISON, Comparison, add_comparison, judge_comparison
from sluice.rollout.shadows import HttpShadowComparer
from sluice.scoring.recent_requests import MAX_KEPT_ROWS, RecentRequests, add_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = RolloutTable(shadow_requests=100, shadow_difference=0.1)


def found(requests: int, mean: float, failed: int = 0) -> Comparison:
    return Comparison(requests=requests, failed=failed, difference=requests * mean)


def test_a_small_difference_passes_and_a_large_one_fails() -> None:
    near = judge_comparison(add_comparison(NO_COMPARISON, found(100, 0.02), SETTINGS), SETTINGS)
    assert near.passed
    assert "at most 0.0" in near.reason
    far = judge_comparison(add_comparison(NO_COMPARISON, found(100, 0.3), SETTINGS), SETTINGS)
    assert far.failed
    assert "limit 0.1" in far.reason


def test_a_canary_that_fails_requests_that_stable_answered_is_refused() -> None:
    judgement = judge_comparison(add_comparison(NO_COMPARISON, found(100, 0.4, failed=40), SETTINGS), SETTINGS)
    assert judgement.failed
    assert "failed 40 of 100" in judgement.reason


def test_the_comparison_is_inconclusive_before_the_first_look_and_between_the_bounds() -> None:
    few = add_comparison(NO_COMPARISON, found(99, 0.0), SETTINGS)
    assert not judge_comparison(few, SETTINGS).passed
    unclear = add_comparison(NO_COMPARISON, found(100, 0.1), SETTINGS)
    judgement = judge_comparison(unclear, SETTINGS)
    assert not judgement.passed
    assert not judgement.failed
    assert "next look at 150" in judgement.reason


def test_requests_between_two_looks_count_at_the_next_look() -> None:
    first = add_comparison(NO_COMPARISON, found(100, 0.02), SETTINGS)
    later = add_comparison(first, found(49, 1.0), SETTINGS)
    assert (later.looked, later.high) == (100, first.high)
    assert add_comparison(later, found(1, 1.0), SETTINGS).looked == 150


def test_a_champion_that_keeps_no_requests_ends_the_shadow_with_the_reason() -> None:
    judgement = judge_comparison(add_comparison(NO_COMPARISON, Comparison(impossible="why"), SETTINGS), SETTINGS)
    assert judgement.passed
    assert judgement.reason == "no shadow: why"


def test_a_server_keeps_its_last_requests_only() -> None:
    recent = RecentRequests()
    recent.add(["a"], [[1]], [0.5])
    assert recent.to_dict()["requests"] == []
    recent.start(2)
    for value in (1, 2, 3):
        recent.add(["a"], [[value]], [value / 10])
    document = recent.to_dict()
    assert [(one["number"], one["data"]["ndarray"], one["probabilities"]) for one in document["requests"]] == [
        (2, [[2]], [0.2]),
        (3, [[3]], [0.3]),
    ]
    recent.add(["a"], [[0]] * (MAX_KEPT_ROWS + 1), [0.0] * (MAX_KEPT_ROWS + 1))
    long = recent.to_dict()["requests"][-1]
    assert (len(long["data"]["ndarray"]), len(long["probabilities"])) == (MAX_KEPT_ROWS, MAX_KEPT_ROWS), (
        "only the first rows of a long request are kept"
    )
    recent.start(2)
    assert recent.to_dict()["server"] != document["server"], "a forked worker has its own count"


@contextmanager
def serving(answer: Callable[[str, Any], tuple[int, Any]]) -> Iterator[str]:
    """Run a server on the loopback interface, and yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self, body: Any) -> None:
            code, content = answer(self.path, body)
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.respond(None)

        def do_POST(self) -> None:
            self.respond(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def serve_recent(recent: RecentRequests) -> Callable[[str, Any], tuple[int, Any]]:
    return lambda path, _: (200, recent.to_dict()) if path == "/recent" else (404, {})


def answer_with_shift(shift: float) -> Callable[[str, Any], tuple[int, Any]]:
    """Return a canary whose probability is the value of the row plus `shift`. It fails on the value 0.9."""

    def answer(path: str, body: Any) -> tuple[int, Any]:
        assert path == "/api/v1.0/predictions"
        rows = body["data"]["ndarray"]
        if rows[0][0] == 0.9:
            return 500, {}
        return 200, {"data": {"ndarray": [[row[0] + shift] for row in rows]}}

    return answer


def poll_and_wait(shadow: HttpShadowComparer, rollout: str, champions: list[str], canary: str) -> Comparison:
    """Return what the last thread found, and wait for the thread that this call starts."""
    found = shadow.poll(rollout, champions, canary)
    shadow._thread.join(GUARD_SECONDS)  # type: ignore[union-attr]
    return found


def record_requests(*values: Any, answer: float | None = None) -> RecentRequests:
    """Record requests of one row each, answered with their value or with `answer`."""
    recent = RecentRequests()
    recent.start(10)
    for value in values:
        recent.add(["a"], [[value]], [value if answer is None else answer])
    return recent


def compare_all(shadow: HttpShadowComparer, rollout: str, champions: list[str], canary: str, rounds: int = 1) -> Comparison:
    """Return what this many threads find together. The result of a thread comes with the next poll."""
    total = NO_COMPARISON
    for _ in range(rounds + 1):
        total += poll_and_wait(shadow, rollout, champions, canary)
    return total


def test_each_request_is_sent_to_the_canary_once_and_compared() -> None:
    one, other = RecentRequests(), RecentRequests()
    one.start(10)
    other.start(10)
    for value in (0.1, 0.2):
        one.add(["a"], [[value]], [value])
    other.add(["a"], [[0.3], [0.5]], [0.3, 0.5])
    other.add(["a"], [[0.9]], [0.9])
    with serving(serve_recent(one)) as first, serving(serve_recent(other)) as second, serving(answer_with_shift(0.05)) as canary:
        total = compare_all(HttpShadowComparer(5.0), "r", [first, second], canary, rounds=3)
    assert (total.requests, total.failed) == (4, 1)
    assert total.difference == pytest.approx(3 * 0.05 + 1.0)


def test_a_canary_that_hangs_or_is_unreachable_counts_as_failed_and_blocks_no_round() -> None:
    recent = record_requests(0.1, 0.2)

    release_canary = threading.Event()

    def hang(_path: str, _body: Any) -> tuple[int, Any]:
        release_canary.wait(GUARD_SECONDS)
        return 200, {}

    with serving(serve_recent(recent)) as champion, serving(hang) as canary:
        patient, hasty = HttpShadowComparer(GUARD_SECONDS), HttpShadowComparer(0.2)
        patient.poll("r", [champion], canary)
        assert patient._thread.is_alive(), "poll returns while the canary still hangs"  # type: ignore[union-attr]
        hasty.poll("r", [champion], canary)
        hasty._thread.join(GUARD_SECONDS)  # type: ignore[union-attr]
        assert hasty.poll("r", [champion], canary) == Comparison(requests=2, failed=2, difference=2.0)
        release_canary.set()
        patient._thread.join(GUARD_SECONDS)  # type: ignore[union-attr]
    recent.add(["a"], [[0.2]], [0.2])
    with serving(serve_recent(recent)) as champion:
        assert compare_all(HttpShadowComparer(0.2), "r", [champion], canary).failed == 3


def test_the_result_of_another_rollout_is_discarded() -> None:
    recent = record_requests(0.1)
    with serving(serve_recent(recent)) as champion, serving(answer_with_shift(0.0)) as canary:
        shadow = HttpShadowComparer(5.0)
        poll_and_wait(shadow, "one", [champion], canary)
        assert shadow.poll("two", [champion], canary) == NO_COMPARISON


def test_a_champion_without_recent_requests_is_distinguished_from_a_broken_one() -> None:
    with serving(lambda *_: (404, {})) as champion:
        assert "keeps no requests" in compare_all(HttpShadowComparer(5.0), "r", [champion], "http://127.0.0.1:1").impossible
    for code, content in ((500, {}), (200, {"requests": 7}), (200, [])):
        with serving(lambda *_, code=code, content=content: (code, content)) as champion:
            shadow = HttpShadowComparer(5.0)
            poll_and_wait(shadow, "r", [champion], "http://127.0.0.1:1")
            with pytest.raises(ServiceError, match="does not return its recent requests"):
                shadow.poll("r", [champion], "http://127.0.0.1:1")


def test_an_error_does_not_name_the_token_of_a_server() -> None:
    with serving(lambda *_: (500, {})) as champion:
        shadow = HttpShadowComparer(5.0)
        url = add_token(champion, "the-token")
        poll_and_wait(shadow, "r", [url], "http://127.0.0.1:1")
        with pytest.raises(ServiceError) as raised:
            shadow.poll("r", [url], "http://127.0.0.1:1")
    assert champion in str(raised.value)
    assert "the-token" not in f"{raised.value} {raised.value.hint}"


def test_the_canary_gets_requests_exactly_as_clients_sent_them() -> None:
    """Python's clients write NaN for a missing number, and a text may contain a lone surrogate. Stable has answered both."""
    recent, got = record_requests(float("nan"), "half \ud800", answer=0.5), []

    def answer(_path: str, body: Any) -> tuple[int, Any]:
        got.append(body["data"]["ndarray"][0][0])
        return 200, {"data": {"ndarray": [[0.5]]}}

    with serving(serve_recent(recent)) as champion, serving(answer) as canary:
        assert compare_all(HttpShadowComparer(5.0), "r", [champion], canary) == Comparison(requests=2)
    assert got[0] != got[0]
    assert got[1] == "half \ud800"


def test_a_comparison_that_still_runs_for_another_rollout_is_not_counted() -> None:
    recent, gate = record_requests(0.1), threading.Event()

    def wait(_path: str, _body: Any) -> tuple[int, Any]:
        gate.wait(5)
        return 500, {}

    with serving(serve_recent(recent)) as champion, serving(wait) as canary:
        shadow = HttpShadowComparer(5.0)
        shadow.poll("one", [champion], canary)
        running = shadow._thread
        assert shadow.poll("two", [champion], canary) == NO_COMPARISON
        gate.set()
        running.join(10)  # type: ignore[union-attr]
        assert shadow.poll("two", [champion], canary) == NO_COMPARISON, "the failure belongs to the first rollout"


def test_an_unexpected_error_in_the_thread_is_reported() -> None:
    shadow = HttpShadowComparer(5.0)
    poll_and_wait(shadow, "r", ["http://fd00::1:9000"], "http://127.0.0.1:1")
    with pytest.raises(ServiceError, match="InvalidURL"):
        shadow.poll("r", [], "")


def test_a_schedule_without_any_look_is_refused() -> None:
    for first, growth in ((0, 1.5), (100, 1.0)):
        with pytest.raises(ValueError, match="looks must begin"):
            next_look(0, first, growth)
