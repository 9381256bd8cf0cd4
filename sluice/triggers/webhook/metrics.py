"""The webhook's metrics for Prometheus. Labels are fixed words and never a value of a request, so their number is bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from sluice.triggers.webhook.bodies import BODIES

ACCEPTED = "accepted"
ANSWERS = (
    ACCEPTED,
    "query",
    "headers",
    "signature",
    "clock",
    "too_slow",
    "replayed",
    "too_large",
    "media_type",
    "body",
    "key_reused",
    "rate",
    "weekly_runs",
    "not_started",
    "unexpected",
)
"""How a message may be answered: `ACCEPTED`, or the code of the error."""


class WebhookMetrics:
    """What Prometheus reads from one webhook."""

    def __init__(self) -> None:
        """Create all metrics, with a series for each label."""
        self.registry = registry = CollectorRegistry()
        self._messages = Counter("sluice_webhook_messages", "Messages by answer", ["kind", "answer"], registry=registry)
        self._starts = Counter(
            "sluice_webhook_starts", "Retrainings that were started or could not be", ["outcome"], registry=registry
        )
        for kind in BODIES:
            for answer in ANSWERS:
                self._messages.labels(kind, answer)
        for outcome in ("started", "failed"):
            self._starts.labels(outcome)

    def add_message(self, kind: str, answer: str) -> None:
        """Count a message; `kind` is ``drift`` or ``code``, and `answer` is one of `ANSWERS`."""
        self._messages.labels(kind, answer).inc()

    def add_start(self, *, started: bool) -> None:
        """Count a start, or a try that failed."""
        self._starts.labels("started" if started else "failed").inc()
