"""Asking the servers about faults: stable about the requests that the canary rejected, and the canary about what failed.

The canary's servers keep both (`sluice.scoring.faults`). The supervisor or controller fetches them in a thread of its own about
once a second while a rollout is running. No control round waits for the answers, and no rollback does: what failed is known
already when the canary is condemned.
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from sluice.rollout.decisions.blame import NO_REJECTIONS, Rejections
from sluice.rollout.failures import MAX_TEXT_LENGTH, ErrorKind, shorten
from sluice.scoring.containers.server_containers import PREDICT_PATH
from sluice.scoring.faults import FAULTS_PATH, MAX_BODY_BYTES, describe_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FETCH_SECONDS = 1.0
"""Time limit for fetching the faults of one server."""

ASK_SECONDS = 1.0
"""Time limit for the answer of stable to one request that the canary rejected."""

PASS_SECONDS = 1.0
"""After this time a thread asks stable no further request."""

MAX_ASKED = 8
"""Requests that stable is asked in one pass."""

MAX_SERVERS = 4
"""Servers of the canary whose faults are fetched in one pass. The next pass continues with the others."""

PAUSE_SECONDS = 0.5
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_ERRORS = 5
MAX_KINDS = 20
MAX_PROCESSES = 200
REJECTED = "rejected, although stable accepts it"


class FaultFinder(Protocol):
    """Finds out what the canary's servers did wrong."""

    def find_rejections(self, rollout: str, champions: Sequence[str], canaries: Sequence[str]) -> Rejections:
        """Return what was found out about rejections since the last call, without waiting.

        Args:
            rollout: Id of the request. What was found for another rollout is discarded.
            champions: URLs of the champion's ready servers.
            canaries: URLs of the canary's ready servers.
        """

    def refresh(self, rollout: str, canaries: Sequence[str]) -> None:
        """Begin to fetch what has failed at the canary's servers until now, without waiting."""

    def is_refreshed(self) -> bool:
        """Return whether everything that `refresh` began to fetch is here."""

    def list_errors(self, rollout: str) -> tuple[ErrorKind, ...]:
        """Return what has failed at the canary's servers in this rollout, the most frequent first, without waiting."""

    def close(self) -> None:
        """Start no further thread."""


@dataclass(slots=True)
class HttpFaultFinder:
    """Find out over HTTP, in one thread after another.

    Attributes:
        show_values: Whether examples may contain values of requests.
    """

    show_values: bool = False
    _thread: _Pass | None = None
    _memory: _Memory = field(default_factory=lambda: _Memory(""))
    _next_pass: float = 0.0

    def find_rejections(self, rollout: str, champions: Sequence[str], canaries: Sequence[str]) -> Rejections:
        """Return the result of the last thread, and start the next one, as `FaultFinder.find_rejections` describes."""
        last = self._thread
        if last is not None and last.is_alive():
            return NO_REJECTIONS
        found = last.found if last is not None and self._memory.rollout == rollout else NO_REJECTIONS
        self._thread = None
        if self._memory.rollout != rollout:
            self._memory = _Memory(rollout)
        if canaries and time.monotonic() >= self._next_pass:
            self._next_pass = time.monotonic() + PAUSE_SECONDS
            self._thread = _Pass(self._memory, champions, canaries, show_values=self.show_values)
            self._thread.start()
        return found

    def refresh(self, rollout: str, canaries: Sequence[str]) -> None:
        """Start a thread that fetches what has failed, as `FaultFinder.refresh` describes."""
        if self._memory.rollout != rollout:
            self._memory = _Memory(rollout)
        self._thread = _Pass(self._memory, (), canaries, show_values=self.show_values, after=self._thread)
        self._thread.start()

    def is_refreshed(self) -> bool:
        """Return whether the last thread has ended."""
        return self._thread is None or not self._thread.is_alive()

    def list_errors(self, rollout: str) -> tuple[ErrorKind, ...]:
        """Return the errors of the last passes, as `FaultFinder.list_errors` describes."""
        return self._memory.list_errors() if self._memory.rollout == rollout else ()

    def close(self) -> None:
        """Start no further thread. A request that is under way ends with the process."""
        self._thread = None


@dataclass(slots=True)
class _Memory:
    """What is known about the canary's servers in one rollout. Only one thread at a time writes it.

    Attributes:
        rollout: Id of the request.
        last_numbers: The number of the last rejected request that was fetched, by server process.
        last_totals: The rejections of a server process at that time.
        failed: The failures of each server process, as it returned them last.
        rejected: Requests that the canary rejected and stable accepted, by the canary's reason.
        examples: The first such request, by the reason.
        turn: Which of the canary's and stable's servers come next.
    """

    rollout: str
    last_numbers: dict[str, int] = field(default_factory=dict)
    last_totals: dict[str, int] = field(default_factory=dict)
    failed: dict[str, tuple[ErrorKind, ...]] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    turn: Iterator[int] = field(default_factory=itertools.count)

    def forget_processes(self) -> None:
        """Forget all server processes. A server whose process changes all the time must not fill the memory."""
        for known in (self.failed, self.last_numbers, self.last_totals):
            known.clear()

    def list_errors(self) -> tuple[ErrorKind, ...]:
        found: dict[str, ErrorKind] = {}
        for one in itertools.chain.from_iterable(list(self.failed.values())):
            found[one.kind] = found[one.kind].plus(one.count) if one.kind in found else one
        errors = [*found.values()]
        for text, count in list(self.rejected.items()):
            errors.append(ErrorKind(kind=REJECTED, count=count, text=text, example=self.examples.get(text, "")))
        return tuple(sorted(errors, key=lambda one: -one.count)[:MAX_ERRORS])


class _Pass(threading.Thread):
    """One pass: fetch the faults of the canary's servers, and ask stable the requests that were rejected since the last pass."""

    def __init__(
        self,
        memory: _Memory,
        champions: Sequence[str],
        canaries: Sequence[str],
        *,
        show_values: bool,
        after: threading.Thread | None = None,
    ) -> None:
        super().__init__(name="faults", daemon=True)
        self.found, self._after = NO_REJECTIONS, after
        self._memory, self._champions, self._canaries, self._show_values = memory, champions, canaries, show_values

    def run(self) -> None:
        if self._after is not None:
            self._after.join()
            self._after = None
        turn = next(self._memory.turn)
        deadline = time.monotonic() + PASS_SECONDS
        with httpx.Client(trust_env=False) as client:
            for place in range(min(MAX_SERVERS, len(self._canaries))):
                url = self._canaries[(turn * MAX_SERVERS + place) % len(self._canaries)]
                rejected, requests = self._fetch(client, url)
                asked, accepted = self._ask(client, requests, turn, deadline) if self._champions else (0, 0)
                self.found += Rejections(rejected=max(rejected, asked), asked=asked, accepted=accepted)

    def _fetch(self, client: httpx.Client, url: str) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of new rejections at a server, and those of them that it has kept.

        The first answer of a server process only says where to begin: a controller that was restarted must not count again what
        an earlier one has counted.
        """
        after = max(self._memory.last_numbers.values(), default=0) if len(self._memory.last_numbers) == 1 else 0
        try:
            answer = client.get(url + FAULTS_PATH, params={"after": after}, timeout=FETCH_SECONDS).raise_for_status()
            if len(answer.content) > MAX_ANSWER_BYTES:
                return 0, []
            document = answer.json()
            server, total = str(document["server"]), int(document["rejected"]["total"])
            requests = [dict(one) for one in document["rejected"]["requests"]]
            if len(self._memory.failed) > MAX_PROCESSES:
                self._memory.forget_processes()
            self._memory.failed[server] = tuple(_read_error(one) for one in document["failed"][:MAX_KINDS])
        except (httpx.HTTPError, ValueError, LookupError, TypeError, RecursionError):
            return 0, []  # an older server keeps no faults, and a server that hangs is found by its own probe
        is_known = server in self._memory.last_totals
        before, seen = self._memory.last_totals.get(server, total), self._memory.last_numbers.get(server, 0)
        self._memory.last_totals[server] = total
        self._memory.last_numbers[server] = max([seen, *(int(one["number"]) for one in requests)])
        return max(0, total - before), [one for one in requests if is_known and int(one["number"]) > seen]

    def _ask(self, client: httpx.Client, requests: Sequence[dict[str, Any]], turn: int, deadline: float) -> tuple[int, int]:
        """Ask stable the last of these requests; return how many it answered, and how many of them it accepted."""
        asked = accepted = 0
        for place, request in enumerate(reversed(requests[-MAX_ASKED:])):
            if time.monotonic() > deadline:
                break
            url = self._champions[(turn + place) % len(self._champions)]
            try:
                body, content_type = base64.b64decode(request["body"]), str(request["type"])
                headers = {"content-type": content_type} if content_type else {}
                answer = client.post(url + PREDICT_PATH, content=body, headers=headers, timeout=ASK_SECONDS)
            except (httpx.HTTPError, ValueError, LookupError, TypeError):
                continue
            asked += 1
            if HTTPStatus(200) <= answer.status_code < HTTPStatus(300):
                accepted += 1
                self._remember(str(request.get("text", "")), body)
        return asked, accepted

    def _remember(self, text: str, body: bytes) -> None:
        text = shorten(text, MAX_TEXT_LENGTH)
        text = text if text in self._memory.rejected or len(self._memory.rejected) < MAX_ERRORS else "other reasons"
        self._memory.rejected[text] += 1
        self._memory.examples.setdefault(text, _describe_body(body, show_values=self._show_values))


def _read_error(document: dict[str, Any]) -> ErrorKind:
    example = ", ".join(f"{name}: {cell}" for name, cell in document["example"])
    return ErrorKind(
        kind=str(document["kind"]), count=int(document["count"]), text=str(document["text"]), example=example
    ).shortened()


def _describe_body(body: bytes, *, show_values: bool) -> str:
    """Return the first row of a request as text; empty if it cannot be read."""
    if len(body) > MAX_BODY_BYTES:
        return ""
    try:
        data = json.loads(body)["data"]
        pairs = describe_row([str(name) for name in data["names"]], list(data["ndarray"]), show_values=show_values)
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return ErrorKind(kind="", count=0, example=", ".join(f"{name}: {cell}" for name, cell in pairs)).shortened().example
