"""Whether a message may start a run. The order is: signature, clock, replay, rate, body, idempotency key, runs of the week."""

from __future__ import annotations

import hashlib
import math
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluice.errors import SluiceError
from sluice.rollout.clocks import REAL_CLOCK
from sluice.triggers.answers import AnswerError
from sluice.triggers.service_logs import log
from sluice.triggers.webhook import signatures
from sluice.triggers.webhook.bodies import BODIES, StartedBody
from sluice.triggers.webhook.keys import read_keys
from sluice.triggers.webhook.metrics import WebhookMetrics
from sluice.triggers.webhook.rates import RateLimit
from sluice.triggers.webhook.signatures import SignedMessage, is_signed
from sluice.triggers.webhook.storage import WEEK_SECONDS, StoredStart

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from sluice.project.projects import Project
    from sluice.project.tables.services.webhook import WebhookTable
    from sluice.rollout.clocks import Clock
    from sluice.triggers.starters import RetrainingStarter
    from sluice.triggers.webhook.storage import Storage

_NO_KEY = b"0" * 32
"""The key with which a message of an unknown client is checked, so that the answer takes as long as for a known client."""

_CHECK_SECONDS = 0.5

_ADVICE = "`sluice webhook sign` makes the headers of a message."


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it came.

    Attributes:
        kind: ``drift`` or ``code``.
        path: The path of the request.
        headers: The headers, with lower-case names.
        body: The body.
    """

    kind: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Webhook:
    """Admits messages and starts runs. Any thread may call it; it takes one message at a time."""

    def __init__(
        self, project: Project, keys: Path, storage: Storage, starter: RetrainingStarter, *, clock: Clock = REAL_CLOCK
    ) -> None:
        """Bind what a message needs.

        Args:
            project: The project, whose settings have the limits and name the pipeline.
            keys: The folder with the clients' keys.
            storage: What is remembered over a restart.
            starter: What starts the run.
            clock: The clock.
        """
        self.project, self.settings = project, project.settings.webhook
        self._keys, self._storage, self._starter, self._clock = keys, storage, starter, clock
        self._clients = RateLimit(self.settings.requests_per_minute, clock.steady)
        self._lock = threading.Lock()
        self.metrics = WebhookMetrics()

    def answer(self, message: Message) -> dict[str, Any]:
        """Start a run, and return the answer. With an idempotency key that was used before, return the first answer again.

        Raises:
            AnswerError: The message is refused, or the run could not be started.
        """
        signed = self._authenticate(message)
        with self._lock:
            try:
                return self._admit(message, signed)
            except SluiceError as error:
                log("the message cannot be handled", client=signed.client, reason=error.message)
                raise AnswerError(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "not_started",
                    "the run could not be started",
                    hint="Send the message again later, signed anew, with the same idempotency key.",
                    headers={"retry-after": "60"},
                ) from error

    def check(self) -> None:
        """Check that the store can be written.

        Raises:
            ServiceError: It cannot.
        """
        if not self._lock.acquire(timeout=_CHECK_SECONDS):
            return  # a message is being handled, so the store is in use
        try:
            self._storage.check()
        finally:
            self._lock.release()

    def _authenticate(self, message: Message) -> SignedMessage:
        """Return the message if the signature and the time are right."""
        client, key, signature, time = (
            message.headers.get(name, "")
            for name in (
                signatures.CLIENT_HEADER,
                signatures.KEY_HEADER,
                signatures.SIGNATURE_HEADER,
                signatures.TIME_HEADER,
            )
        )
        patterns = ((signatures.CLIENT, client), (signatures.IDEMPOTENCY_KEY, key), (signatures.TIME, time))
        if not all(pattern.fullmatch(value) for pattern, value in patterns):
            needed = "Sluice-Client, Sluice-Timestamp, Sluice-Signature and Idempotency-Key"
            raise AnswerError(HTTPStatus.UNAUTHORIZED, "headers", f"a message needs the headers {needed}", hint=_ADVICE)
        signed = SignedMessage(
            time=int(time),
            project=self.project.settings.project.name,
            audience=self.settings.audience,
            client=client,
            path=message.path,
            key=key,
            body=message.body,
        )
        secrets = self._read_keys(client)
        if not is_signed(signed, signature, secrets or (_NO_KEY,)) or not secrets:
            raise AnswerError(
                HTTPStatus.UNAUTHORIZED,
                "signature",
                "the signature does not fit the message, the client, this project and this webhook",
                hint=_ADVICE,
            )
        if abs(self._clock.now() - signed.time) > self.settings.clock_seconds:
            raise AnswerError(
                HTTPStatus.UNAUTHORIZED,
                "clock",
                f"the message was signed more than {self.settings.clock_seconds:g} s before or after the time of this webhook",
                hint="Sign it again. If that does not help, set the clock of the sender.",
            )
        return signed

    def _read_keys(self, client: str) -> tuple[bytes, ...]:
        try:
            return read_keys(self._keys, client)
        except SluiceError as error:
            log("a key cannot be used", reason=error.message)
            return ()

    def _admit(self, message: Message, signed: SignedMessage) -> dict[str, Any]:
        now = self._clock.now()
        signature = message.headers[signatures.SIGNATURE_HEADER]
        if not self._storage.add_message(signature, signed.time, oldest=now - self.settings.clock_seconds):
            raise AnswerError(
                HTTPStatus.CONFLICT,
                "replayed",
                "this message was sent before",
                hint="To send it again, sign it anew, with the same idempotency key.",
            )
        if wait := self._clients.take(signed.client):
            raise refuse_rate(wait)
        _check_body(message)
        digest = hashlib.sha256(f"{message.path}\n".encode() + message.body).hexdigest()
        earlier = self._storage.find_start(signed.client, signed.key)
        if earlier is not None and earlier.message != digest:
            raise AnswerError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "key_reused",
                "another message had this idempotency key",
                hint="Use a new key for a new message.",
            )
        if earlier is not None and earlier.answer is not None:
            return earlier.answer
        return self._start(message, signed, digest, earlier, now)

    def _start(
        self, message: Message, signed: SignedMessage, digest: str, earlier: StoredStart | None, now: float
    ) -> dict[str, Any]:
        """Start the run. If the process ended during an earlier try, the engine finds the run by its key."""
        if earlier is None:
            check_week(self._storage.list_starts(now - WEEK_SECONDS), signed.client, now, self.settings)
            self._storage.add_start(signed.client, signed.key, digest, now)
        try:
            run = self._starter.submit(self.settings.pipeline, {}, key=name_start(signed))
        except SluiceError:
            self._storage.remove_start(signed.client, signed.key)
            self.metrics.add_start(started=False)
            raise
        self.metrics.add_start(started=True)
        answer = StartedBody(run=run, pipeline=self.settings.pipeline, event=message.kind, key=signed.key).model_dump()
        self._storage.set_answer(signed.client, signed.key, answer)
        log("a retraining was started", run=run, client=signed.client, kind=message.kind)
        return answer


def refuse_rate(wait: float) -> AnswerError:
    """Return the answer to a request that comes too soon."""
    return AnswerError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "rate",
        "too many requests were sent in a minute",
        hint="Send the message again later, signed anew.",
        headers={"retry-after": str(math.ceil(wait))},
    )


def check_week(starts: Sequence[tuple[float, str]], client: str, now: float, settings: WebhookTable) -> None:
    """Check that another run may be started this week.

    Args:
        starts: Time and client of each start of the last seven days, oldest first.
        client: Who asks.
        now: Seconds since the epoch.
        settings: The limits.

    Raises:
        AnswerError: It may not. The answer says when it may.
    """
    own = [time for time, name in starts if name == client]
    for times, limit, who in (
        (own, settings.weekly_runs_per_client, "this client"),
        ([time for time, _ in starts], settings.weekly_runs, "all clients together"),
    ):
        if len(times) >= limit:
            wait = times[len(times) - limit] + WEEK_SECONDS - now
            raise AnswerError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "weekly_runs",
                f"{who} started {len(times)} runs in seven days, and {limit} are allowed",
                hint="Wait, or start a run by hand with `sluice run`.",
                headers={"retry-after": str(max(1, math.ceil(wait)))},
            )


def name_start(message: SignedMessage) -> str:
    """Return the engine's idempotency key. It differs for each project, client and key of a message."""
    text = f"{message.project}\n{message.client}\n{message.key}"
    return f"webhook-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _check_body(message: Message) -> None:
    try:
        BODIES[message.kind].model_validate_json(message.body)
    except ValidationError as error:
        fields = {".".join(map(str, one["loc"])): one["type"] for one in error.errors(include_input=False, include_url=False)}
        known = ", ".join(BODIES[message.kind].model_fields)
        found = ", ".join(f"{_name_field(name, BODIES[message.kind].model_fields)} ({kind})" for name, kind in fields.items())
        raise AnswerError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "body",
            f"the body is not as it must be: {found}",
            hint=f"The fields are: {known}. The data to train on is named in sluice.toml and never in a message.",
        ) from error


def _name_field(place: str, known: Collection[str]) -> str:
    """Return how a message names a wrong field. The name of an unknown one is a value of the request, so it is not repeated."""
    if not place:
        return "the body"
    return place if place.partition(".")[0] in known else "another field"
