"""The start times of a cron expression, over the change of the clocks too."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sluice.engines.cron_times import describe_missed, find_start


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("cron", "timezone", "now", "expected"),
    [
        ("17 4 * * 1", "UTC", "2026-11-30T05:00", "2026-12-07T04:17"),
        ("@weekly", "UTC", "2026-11-30T05:00", "2026-12-06T00:00"),
        ("0 6 * * *", "Europe/Berlin", "2026-10-24T12:00", "2026-10-25T05:00"),
        ("0 6 * * *", "Europe/Berlin", "2026-10-23T12:00", "2026-10-24T04:00"),
    ],
)
def test_the_next_start_is_in_the_time_zone_of_the_schedule(cron: str, timezone: str, now: str, expected: str) -> None:
    assert find_start(cron, timezone, at(now), before=False) == at(expected)


@pytest.mark.parametrize(("cron", "timezone"), [("@every 2h", "UTC"), ("61 * * * *", "UTC"), ("0 0 * * *", "Mars/Base")])
def test_an_expression_without_fixed_start_times_has_none(cron: str, timezone: str) -> None:
    assert find_start(cron, timezone, at("2026-11-30T05:00"), before=False) is None
    assert describe_missed(cron, timezone, since=0, last=None, now=at("2026-11-30T05:00")) == ""


def test_a_run_may_start_some_minutes_late_before_its_start_counts_as_missed() -> None:
    since, due = at("2026-11-01T00:00"), at("2026-11-30T04:17")
    earlier = at("2026-11-23T04:17")
    assert describe_missed("17 4 * * 1", "UTC", since=since, last=earlier, now=due + 60) == ""
    assert (
        describe_missed("17 4 * * 1", "UTC", since=since, last=earlier, now=due + 600) == "no run started at 2026-11-30 04:17 UTC"
    )
    assert describe_missed("17 4 * * 1", "UTC", since=since, last=due + 5, now=due + 600) == ""
    assert describe_missed("17 4 * * 1", "UTC", since=due + 1, last=None, now=due + 600) == ""
