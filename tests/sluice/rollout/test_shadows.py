"""The shadow: what the comparison decides, and how the canary is asked, over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from sluice.errors import ServiceError
from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.interim_looks import next_look
from sluice.rollout.decisions.shadow_comparisons import NO_COMPARISON, Comparison, add_comparison, judge_comparison
from sluice.rollout.shadows import Shadow
from sluice.scoring.recent_requests import MAX_KEPT_ROWS, RecentRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = RolloutTable(shadow_requests=100, shadow_difference=0.1)


def found(requests: int, mean: float, failed: int = 0) -> Comparison:
    return Comparison(requests=requests, failed=failed, difference=requests * mean)


def test_answers_that_are_near_pass_and_far_ones_condemn() -> None:
    near = judge_comparison(add_comparison(NO_COMPARISON, found(100, 0.02), SETTINGS), SETTINGS)
    assert near.passed
    assert "at most 0.0" in near.reason
    far = judge_comparison(add_comparison(NO_COMPARISON, found(100, 0.3), SETTINGS), SETTINGS)
    assert far.failed
    assert "limit 0.1" in far.reason


def test_a_canary_that_fails_on_what_stable_answered_is_condemned() -> None:
    judgement = judge_comparison(add_comparison(NO_COMPARISON, found(100, 0.4, failed=40), SETTINGS), SETTINGS)
    assert judgement.failed
    assert "failed 40 of 100" in judgement.reason


def test_before_the_first_look_and_between_the_bounds_it_is_inconclusive() -> None:
    few = add_comparison(NO_COMPARISON, found(99, 0.0), SETTINGS)
    assert not judge_comparison(few, SETTINGS).passed
    unclear = add_comparison(NO_COMPARISON, found(100, 0.1), SETTINGS)
    judgement = judge_comparison(unclear, SETTINGS)
    assert not judgement.passed
    assert not judgement.failed
    assert "next look at 150" in judgement.reason


def test_what_was_counted_between_two_looks_waits_for_the_next() -> None:
    first = add_comparison(NO_COMPARISON, found(100, 0.02), SETTINGS)
    later = add_comparison(first, found(49, 1.0), SETTINGS)
    assert (later.looked, later.high) == (100, first.high)
    assert add_comparison(later, found(1, 1.0), SETTINGS).looked == 150


def test_a_champion_that_keeps_nothing_ends_the_shadow_and_says_so() -> None:
    judgement = judge_comparison(add_comparison(NO_COMPARISON, Comparison(impossible="why"), SETTINGS), SETTINGS)
    assert judgement.passed
    assert judgement.reason == "no shadow: why"


def test_the_last_requests_are_kept_and_others_forgotten() -> None:
    recent = RecentRequests()
    recent.add(["a"], [[1]], [0.5])
    assert recent.to_dict()["requests"] == []
    recent.start(2)
    for value in (1, 2, 3):
        recent.add(["a"], [[value]], [value / 10])
    told = recent.to_dict()
    assert [(one["number"], one["data"]["ndarray"], one["probabilities"]) for one in told["requests"]] == [
        (2, [[2]], [0.2]),
        (3, [[3]], [0.3]),
    ]
    recent.add(["a"], [[0]] * (MAX_KEPT_ROWS + 1), [0.0] * (MAX_KEPT_ROWS + 1))
    long = recent.to_dict()["requests"][-1]
    assert (len(long["data"]["ndarray"]), len(long["probabilities"])) == (MAX_KEPT_ROWS, MAX_KEPT_ROWS), (
        "the beginning of a long one"
    )
    recent.start(2)
    assert recent.to_dict()["server"] != told["server"], "a forked worker counts apart"


@contextmanager
def serving(answer: Callable[[str, Any], tuple[int, Any]]) -> Iterator[str]:
    """A server on the loopback interface; gives its URL."""

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


def keeps(recent: RecentRequests) -> Callable[[str, Any], tuple[int, Any]]:
    return lambda path, _: (200, recent.to_dict()) if path == "/recent" else (404, {})


def answers(shift: float) -> Callable[[str, Any], tuple[int, Any]]:
    """A canary whose probability is its row's value and a little more; it fails on 0.9."""

    def answer(path: str, body: Any) -> tuple[int, Any]:
        assert path == "/api/v1.0/predictions"
        rows = body["data"]["ndarray"]
        if rows[0][0] == 0.9:
            return 500, {}
        return 200, {"data": {"ndarray": [[row[0] + shift] for row in rows]}}

    return answer


def poll_to_its_end(shadow: Shadow, rollout: str, champions: list[str], canary: str) -> Comparison:
    """What the last round found; the one that this begins has ended by then."""
    found = shadow.poll(rollout, champions, canary)
    shadow._round.join(10)  # type: ignore[union-attr]
    return found


def keep(*values: Any, answer: float | None = None) -> RecentRequests:
    """Requests of one row each, which were answered with their value or with `answer`."""
    recent = RecentRequests()
    recent.start(10)
    for value in values:
        recent.add(["a"], [[value]], [value if answer is None else answer])
    return recent


def ask_all(shadow: Shadow, rollout: str, champions: list[str], canary: str, rounds: int = 1) -> Comparison:
    """What so many rounds find together; a round's result comes with the poll after it."""
    total = NO_COMPARISON
    for _ in range(rounds + 1):
        total += poll_to_its_end(shadow, rollout, champions, canary)
    return total


def test_each_request_is_asked_once_of_the_canary_and_compared() -> None:
    one, other = RecentRequests(), RecentRequests()
    one.start(10)
    other.start(10)
    for value in (0.1, 0.2):
        one.add(["a"], [[value]], [value])
    other.add(["a"], [[0.3], [0.5]], [0.3, 0.5])
    other.add(["a"], [[0.9]], [0.9])
    with serving(keeps(one)) as first, serving(keeps(other)) as second, serving(answers(0.05)) as canary:
        total = ask_all(Shadow(5.0), "r", [first, second], canary, rounds=3)
    assert (total.requests, total.failed) == (4, 1)
    assert total.difference == pytest.approx(3 * 0.05 + 1.0)


def test_a_canary_that_hangs_or_is_away_fails_and_holds_nobody_up() -> None:
    recent = keep(0.1, 0.2)

    def hang(_path: str, _body: Any) -> tuple[int, Any]:
        time.sleep(1.0)
        return 200, {}

    with serving(keeps(recent)) as champion, serving(hang) as canary:
        shadow = Shadow(0.2)
        began = time.monotonic()
        shadow.poll("r", [champion], canary)
        assert time.monotonic() - began < 0.15
        shadow._round.join(10)  # type: ignore[union-attr]
        assert shadow.poll("r", [champion], canary) == Comparison(requests=2, failed=2, difference=2.0)
    recent.add(["a"], [[0.2]], [0.2])
    with serving(keeps(recent)) as champion:
        assert ask_all(Shadow(0.2), "r", [champion], canary).failed == 3


def test_what_was_found_for_another_rollout_is_forgotten() -> None:
    recent = keep(0.1)
    with serving(keeps(recent)) as champion, serving(answers(0.0)) as canary:
        shadow = Shadow(5.0)
        poll_to_its_end(shadow, "one", [champion], canary)
        assert shadow.poll("two", [champion], canary) == NO_COMPARISON


def test_a_champion_without_recent_requests_is_told_from_one_that_is_broken() -> None:
    with serving(lambda *_: (404, {})) as champion:
        assert "keeps no requests" in ask_all(Shadow(5.0), "r", [champion], "http://127.0.0.1:1").impossible
    for code, content in ((500, {}), (200, {"requests": 7}), (200, [])):
        with serving(lambda *_, code=code, content=content: (code, content)) as champion:
            shadow = Shadow(5.0)
            poll_to_its_end(shadow, "r", [champion], "http://127.0.0.1:1")
            with pytest.raises(ServiceError, match="does not say what it was asked"):
                shadow.poll("r", [champion], "http://127.0.0.1:1")


def test_what_clients_send_is_sent_on_as_they_sent_it() -> None:
    """Python's clients write NaN for a missing number, and texts may hold half of a surrogate pair: stable has answered both."""
    recent, got = keep(float("nan"), "half \ud800", answer=0.5), []

    def answer(_path: str, body: Any) -> tuple[int, Any]:
        got.append(body["data"]["ndarray"][0][0])
        return 200, {"data": {"ndarray": [[0.5]]}}

    with serving(keeps(recent)) as champion, serving(answer) as canary:
        assert ask_all(Shadow(5.0), "r", [champion], canary) == Comparison(requests=2)
    assert got[0] != got[0]
    assert got[1] == "half \ud800"


def test_a_round_that_still_runs_for_another_rollout_is_not_counted() -> None:
    recent, gate = keep(0.1), threading.Event()

    def wait(_path: str, _body: Any) -> tuple[int, Any]:
        gate.wait(5)
        return 500, {}

    with serving(keeps(recent)) as champion, serving(wait) as canary:
        shadow = Shadow(5.0)
        shadow.poll("one", [champion], canary)
        running = shadow._round
        assert shadow.poll("two", [champion], canary) == NO_COMPARISON
        gate.set()
        running.join(10)  # type: ignore[union-attr]
        assert shadow.poll("two", [champion], canary) == NO_COMPARISON, "a failure of the canary of the first"


def test_a_round_that_breaks_says_so() -> None:
    shadow = Shadow(5.0)
    poll_to_its_end(shadow, "r", ["http://fd00::1:9000"], "http://127.0.0.1:1")
    with pytest.raises(ServiceError, match="InvalidURL"):
        shadow.poll("r", [], "")


def test_looks_that_never_come_are_refused() -> None:
    for first, growth in ((0, 1.5), (100, 1.0)):
        with pytest.raises(ValueError, match="looks must begin"):
            next_look(0, first, growth)
