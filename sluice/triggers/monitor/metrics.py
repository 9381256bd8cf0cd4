"""The monitor's metrics for Prometheus. Labels are columns of the reference and fixed words, so their number is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

from sluice.triggers.monitor.payloads import REASONS
from sluice.triggers.monitor.windows import Look

if TYPE_CHECKING:
    from collections.abc import Collection

    from sluice.drift.comparisons import DriftResult

EVENT_OUTCOMES = ("counted", "duplicate", "unusable", "ignored", "refused")


class MonitorMetrics:
    """What Prometheus reads from one monitor."""

    def __init__(self) -> None:
        """Create all metrics, with a series for each fixed label."""
        self.registry = registry = CollectorRegistry()
        self._events = Counter("sluice_monitor_events", "Events of the request log by outcome", ["outcome"], registry=registry)
        self._unusable = Counter(
            "sluice_monitor_unusable", "Requests that cannot be counted, by reason", ["reason"], registry=registry
        )
        self._rows = Counter("sluice_monitor_rows", "Rows that were counted", registry=registry)
        self._psi = Gauge("sluice_monitor_psi", "Index of a column in the last judged window", ["column"], registry=registry)
        self._drifted = Gauge(
            "sluice_monitor_drifted", "Whether a column drifted in the last window", ["column"], registry=registry
        )
        self._window = Gauge("sluice_monitor_window_rows", "Rows of the last judged window", registry=registry)
        self._looks = Counter("sluice_monitor_looks", "Looks at a window by what they found", ["found"], registry=registry)
        self._starts = Counter(
            "sluice_monitor_starts", "Retrainings that were started or could not be", ["outcome"], registry=registry
        )
        self._flushed = Gauge(
            "sluice_monitor_flushed_timestamp_seconds", "Time of the last write of the state", registry=registry
        )
        self._reference = Gauge("sluice_monitor_reference_rows", "Rows of the champion's reference", registry=registry)
        self._failures = Counter("sluice_monitor_failures", "Failures by what failed", ["what"], registry=registry)
        for outcome in EVENT_OUTCOMES:
            self._events.labels(outcome)
        for reason in REASONS:
            self._unusable.labels(reason)
        for look in Look:
            self._looks.labels(look.value)
        for outcome in ("started", "failed"):
            self._starts.labels(outcome)
        for what in ("reference", "state", "poll"):
            self._failures.labels(what)

    def add_events(self, outcome: str, number: int = 1) -> None:
        """Count events; `outcome` is one of `EVENT_OUTCOMES`."""
        self._events.labels(outcome).inc(number)

    def add_unusable(self, reason: str, number: int) -> None:
        """Count requests that cannot be counted; `reason` is one of `payloads.REASONS`."""
        self._unusable.labels(reason).inc(number)
        self.add_events("unusable", number)

    def add_rows(self, rows: int) -> None:
        """Count rows."""
        self._rows.inc(rows)

    def show_look(self, found: str, result: DriftResult | None) -> None:
        """Show what a look found; `found` is a `windows.Look`."""
        self._looks.labels(found).inc()
        if result is not None:
            self._window.set(result.rows)
            for name, feature in result.features.items():
                self._psi.labels(name).set(feature.estimate.psi)
                self._drifted.labels(name).set(feature.drifted)

    def show_reference(self, rows: int, columns: Collection[str]) -> None:
        """Show another reference, and forget the columns of the last one."""
        self._reference.set(rows)
        for gauge in (self._psi, self._drifted):
            gauge.clear()
            for name in columns:
                gauge.labels(name)

    def add_start(self, *, started: bool) -> None:
        """Count a start, or a try that failed."""
        self._starts.labels("started" if started else "failed").inc()

    def show_flush(self, time: float) -> None:
        """Show the time of a write of the state."""
        self._flushed.set(time)

    def add_failure(self, what: str) -> None:
        """Count a failure of the ``reference``, the ``state`` or a ``poll``."""
        self._failures.labels(what).inc()
