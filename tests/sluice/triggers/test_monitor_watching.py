"""The monitor's loop, with a clock that the test moves: counting, flushing, restarting, starting, and following the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from trigger_services import ManualClock, RecordingStarter, make_event, make_frame, make_reference, make_request, write_reference

from sluice.errors import DataError, ServiceError
from sluice.scoring.recent_requests import RecentRequests
from sluice.triggers.monitor.metrics import MonitorMetrics
from sluice.triggers.monitor.polling import poll_once
from sluice.triggers.monitor.references import find_reference
from sluice.triggers.monitor.state_files import find_state_file, read_state
from sluice.triggers.monitor.watching import RETRY_SECONDS, STALLED_SECONDS, Monitor

if TYPE_CHECKING:
    from sluice.project.projects import Project


class Watch:
    """A monitor that can be stopped like a killed process, and started again."""

    def __init__(self, project: Project, clock: ManualClock, starter: RecordingStarter) -> None:
        self.project, self.clock, self.starter = project, clock, starter
        self.rng = np.random.default_rng(5)
        write_reference(project, make_reference())
        self.start()

    def start(self) -> None:
        self.metrics = MonitorMetrics()
        read = find_reference(self.project)
        self.monitor = Monitor(self.project, read, self.starter, self.metrics, clock=self.clock.clock)
        self.monitor.step()

    def send(self, rows: int, *, shift: float = 0.0) -> None:
        assert self.monitor.put([make_event(make_frame(rows, self.rng, shift=shift))], 1_000)
        self.monitor.step()

    def feed(self, slices: int, *, shift: float = 0.0) -> None:
        for _ in range(slices):
            self.send(400, shift=shift)
            self.clock.move(60)
            self.monitor.step()

    def read(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    @property
    def rows(self) -> int:
        state = self.monitor.state
        return sum(one.profile.rows for one in state.slices) if state else 0


@pytest.fixture
def watch(project: Project, clock: ManualClock, starter: RecordingStarter) -> Watch:
    return Watch(project, clock, starter)


def test_drift_starts_the_pipeline_once_without_arguments_and_with_a_key(watch: Watch) -> None:
    watch.feed(8)
    assert watch.starter.calls == []
    watch.feed(40, shift=0.8)
    ((pipeline, arguments, key),) = watch.starter.calls
    assert (pipeline, arguments) == ("retrain", {})
    assert key.startswith("drift-")
    state = watch.monitor.state
    assert state is not None
    assert state.start is not None
    assert (state.start.run, state.start.columns) == ("run-1", ("amount",))
    assert watch.read("sluice_monitor_starts_total", outcome="started") == 1
    assert watch.read("sluice_monitor_drifted", column="amount") == 1


def test_a_start_that_fails_is_tried_again_with_the_same_key(watch: Watch) -> None:
    watch.starter.failure = ServiceError("the engine does not answer")
    watch.feed(20, shift=0.8)
    assert watch.starter.calls == []
    assert watch.read("sluice_monitor_starts_total", outcome="failed") >= 2
    watch.starter.failure = None
    watch.clock.move(RETRY_SECONDS)
    watch.monitor.step()
    watch.feed(5, shift=0.8)
    assert len(watch.starter.calls) == 1


def test_a_monitor_killed_between_the_decision_and_the_start_starts_the_same_run(watch: Watch) -> None:
    watch.starter.failure = ServiceError("the engine does not answer")
    watch.feed(20, shift=0.8)
    decided = read_state(find_state_file(watch.project))
    assert decided is not None
    assert decided.start is not None
    watch.starter.failure = None
    watch.start()
    watch.start()
    assert [key for _, _, key in watch.starter.calls] == [decided.start.key]


def test_the_cooldown_survives_a_restart(watch: Watch) -> None:
    watch.feed(20, shift=0.8)
    assert len(watch.starter.calls) == 1
    watch.start()
    watch.feed(20, shift=0.8)
    assert len(watch.starter.calls) == 1
    watch.feed(60, shift=0.8)
    assert len(watch.starter.calls) == 2
    assert len({key for _, _, key in watch.starter.calls}) == 2


def test_a_killed_monitor_loses_at_most_one_flush_interval(watch: Watch) -> None:
    watch.send(100)
    watch.clock.move(30)
    watch.send(10)
    assert watch.rows == 110
    watch.send(1)
    watch.start()
    assert watch.rows == 110
    watch.clock.move(30)
    watch.monitor.step()
    watch.send(5)
    watch.start()
    assert watch.rows == 110


def test_a_monitor_that_ends_cleanly_loses_nothing(watch: Watch) -> None:
    import threading

    assert watch.monitor.put([make_event(make_frame(7, watch.rng))], 1_000)
    stopping = threading.Event()
    stopping.set()
    watch.monitor.run(stopping)
    watch.start()
    assert watch.rows == 7


def test_an_unexpected_error_ends_the_loop_and_shows_in_the_health(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    def fail() -> None:
        raise RuntimeError("a private value")

    monkeypatch.setattr(watch.monitor, "step", fail)
    watch.monitor.run(threading.Event())
    assert watch.monitor.is_alive
    watch.clock.move(STALLED_SECONDS)
    assert not watch.monitor.is_alive


def test_the_state_file_has_no_value_of_a_request(watch: Watch) -> None:
    event = make_event(make_frame(3, watch.rng).assign(amount=123456.789, zone="Anna Example"))
    assert watch.monitor.put([event], 1_000)
    watch.clock.move(31)
    watch.monitor.step()
    watch.monitor.flush()
    files = [file for file in watch.project.state.rglob("*") if file.is_file()]
    assert [file.name for file in files] == ["monitor.json"]
    text = files[0].read_text()
    assert '"rows": 3' in text
    assert "123456" not in text
    assert "Anna" not in text


def test_a_state_that_cannot_be_written_stops_nothing(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = watch.project.root / "a file"
    blocked.write_text("")
    watch.monitor._file = blocked / "monitor.json"
    watch.feed(20, shift=0.8)
    assert len(watch.starter.calls) == 1
    assert watch.read("sluice_monitor_failures_total", what="state") > 0


def test_a_damaged_state_is_refused_at_the_start(watch: Watch) -> None:
    find_state_file(watch.project).write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        watch.start()


def test_an_event_that_is_sent_twice_counts_once(watch: Watch) -> None:
    event = make_event(make_frame(10, watch.rng))
    for _ in range(3):
        assert watch.monitor.put([event, event], 100)
        watch.monitor.step()
    assert watch.rows == 10
    assert watch.read("sluice_monitor_events_total", outcome="duplicate") == 5
    assert watch.read("sluice_monitor_events_total", outcome="counted") == 1


def test_a_new_champion_swaps_the_reference_and_the_metrics(watch: Watch) -> None:
    watch.feed(4, shift=0.8)
    write_reference(watch.project, make_reference(seed=9, shift=0.8))
    watch.clock.move(10)
    watch.monitor.step()
    assert watch.rows == 0
    watch.feed(20, shift=0.8)
    assert watch.starter.calls == []
    assert watch.read("sluice_monitor_psi", column="amount") < 0.1


def test_a_restart_after_a_new_champion_does_not_mix_windows(watch: Watch) -> None:
    watch.feed(4)
    watch.monitor.flush()
    write_reference(watch.project, make_reference(seed=9))
    watch.start()
    assert watch.rows == 0
    watch.send(3)
    assert watch.rows == 3


def test_a_reference_that_cannot_be_read_keeps_the_present_one(watch: Watch) -> None:
    watch.project.path("reference.json").write_text("{}")
    watch.clock.move(10)
    watch.send(5)
    assert watch.rows == 5
    assert watch.read("sluice_monitor_failures_total", what="reference") == 1
    watch.start()
    assert not watch.monitor.is_ready
    assert not watch.monitor.put([make_event(make_frame(1, watch.rng))], 100)


def test_events_are_refused_when_too_many_bytes_wait(watch: Watch) -> None:
    limit = watch.monitor.settings.max_waiting_bytes
    event = make_event(make_frame(1, watch.rng))
    assert watch.monitor.put([event], limit // 2)
    assert not watch.monitor.put([event], limit // 2)
    watch.monitor.step()
    assert watch.monitor.put([event], limit // 2)


def test_the_labels_of_the_metrics_are_bounded(watch: Watch) -> None:
    before = {(sample.name, *sample.labels.values()) for metric in watch.metrics.registry.collect() for sample in metric.samples}
    frame = make_frame(100, watch.rng)
    for number in range(50):
        watch.monitor.put([make_event(frame.rename(columns={"age": f"age{number}"})), make_event(frame)], 1_000)
    watch.feed(8)
    after = {(sample.name, *sample.labels.values()) for metric in watch.metrics.registry.collect() for sample in metric.samples}
    assert after == before, "an alert would not see the first increase of a series that begins later"


def test_recent_requests_of_a_server_are_fetched_and_counted_once(watch: Watch) -> None:
    recent = RecentRequests()
    recent.start(64)
    frame = make_frame(3, watch.rng)
    rows = make_request(frame)["data"]["ndarray"]
    recent.add(list(frame.columns), rows, [0.5] * 3)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "gone":
            return httpx.Response(404)
        return httpx.Response(200, json=recent.to_dict())

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        poll_once(watch.monitor, client, "http://server:9000/")
        poll_once(watch.monitor, client, "http://server:9000")
        recent.add(list(frame.columns), rows, [0.5] * 3)
        poll_once(watch.monitor, client, "http://server:9000")
        poll_once(watch.monitor, client, "http://gone:9000")
    watch.monitor.step()
    assert watch.rows == 6
    assert watch.read("sluice_monitor_failures_total", what="poll") == 1
