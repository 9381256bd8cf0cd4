"""The measured traffic, and the expected time of each step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.project.tables.rollout import RolloutTable
from sluice.rollout.decisions.expected_times import (
    NO_TRAFFIC,
    Measurement,
    choose_share,
    compute_bake_share,
    describe_duration,
    describe_expected,
    expect_steps,
    read_measurement,
)

SETTINGS = RolloutTable()
A_THOUSAND_A_DAY = 1000 / 86400


def test_the_measured_rate_follows_the_traffic() -> None:
    traffic = NO_TRAFFIC
    assert traffic.rate is None
    for _ in range(3600):
        traffic = traffic.add(100, 1.0)
    assert traffic.rate == pytest.approx(100)
    for _ in range(3600):
        traffic = traffic.add(10, 1.0)
    assert traffic.rate == pytest.approx(10, rel=0.2)
    assert traffic.seconds <= 600


@pytest.mark.parametrize("rate", [5, 100, 3000])
def test_the_traffic_of_a_morning_counts_soon_after_a_night_without_requests(rate: int) -> None:
    """The whole night was averaged, so the first hours were measured as a fraction of their traffic."""
    traffic = NO_TRAFFIC
    for _ in range(3600):
        traffic = traffic.add(rate, 1.0)
    for _ in range(8 * 360):
        traffic = traffic.add(0, 10.0)
    assert traffic.rate is None
    night = read_measurement(traffic.describe())
    assert night.quiet_seconds == 8 * 3600
    assert night.highest == pytest.approx(rate, rel=0.25)
    assert describe_expected([], night, 3600.0) == [
        "the time of the steps is not known, because there was no traffic in the last ten minutes: the last request came 8 h ago"
    ]
    for _ in range(180):
        traffic = traffic.add(rate, 1.0)
    assert traffic.rate == pytest.approx(rate, rel=0.1)
    assert read_measurement(traffic.describe()).highest == pytest.approx(rate, rel=0.25)


@pytest.mark.parametrize(("rounds", "seconds"), [(100, 1.0), (1000, 0.1)])
def test_the_length_of_a_round_does_not_change_the_measurement(rounds: int, seconds: float) -> None:
    traffic = NO_TRAFFIC
    for _ in range(rounds):
        traffic = traffic.add(int(50 * seconds), seconds)
    assert traffic.rate == pytest.approx(50)
    assert traffic.seconds == pytest.approx(600 * (1 - math.exp(-1 / 6)))
    short = read_measurement(traffic.describe())
    assert describe_expected([], short, 3600.0)[-1] == "the traffic was measured over 93 s only"


def test_little_traffic_is_measured_over_ten_minutes() -> None:
    traffic = NO_TRAFFIC
    for second in range(86_400):
        traffic = traffic.add(int(second % 86 == 0), 1.0)
    assert traffic.rate == pytest.approx(1 / 86, rel=0.1)


def test_300_requests_at_five_per_cent_take_six_days_with_a_thousand_requests_a_day() -> None:
    steps = expect_steps((5, 25, 100), A_THOUSAND_A_DAY, SETTINGS)
    assert [step.name for step in steps] == ["step-1", "step-2", "baking"]
    assert steps[0].seconds == pytest.approx(6 * 86400)
    lines = describe_expected(steps, Measurement(rate=A_THOUSAND_A_DAY, seconds=600), SETTINGS.deadline_seconds)
    assert lines[0] == "step-1 (5 %): 300 requests, about 6 days"
    assert "longer than the deadline of 60 min" in lines[-1]


def test_with_enough_traffic_the_bake_takes_its_time_and_the_steps_fit_the_deadline() -> None:
    steps = expect_steps((5, 25, 100), 100.0, SETTINGS)
    assert [round(step.seconds or 0) for step in steps] == [60, 12, 60]
    assert describe_expected(steps, Measurement(rate=100.0, seconds=600, quiet_seconds=1), SETTINGS.deadline_seconds) == [
        "step-1 (5 %): 300 requests, about 60 s",
        "step-2 (25 %): 300 requests, about 12 s",
        "baking (95 %): 300 requests, about 60 s",
        "together about 2.2 min at 100 requests a second, if every first look passes",
        "the traffic was measured over about the last ten minutes",
    ]


def test_a_shadow_makes_the_first_step_shorter() -> None:
    steps = expect_steps((5, 100), 1.0, RolloutTable(shadow_requests=300))
    assert [(step.name, step.requests, step.seconds) for step in steps[:2]] == [("shadow", 300, 300.0), ("step-1", 30, 600.0)]


def test_without_measured_traffic_the_time_is_not_known() -> None:
    steps = expect_steps((5, 100), None, SETTINGS)
    assert steps[0].seconds is None
    assert describe_expected(steps, Measurement(), 3600.0) == [
        "the time of the steps is not known, because no traffic was measured yet"
    ]


@pytest.mark.parametrize(("rate", "share"), [(100.0, 1), (10.0, 5), (1.0, 50), (0.01, 50)])
def test_a_number_of_requests_becomes_the_smallest_share_that_brings_them_in_time(rate: float, share: int) -> None:
    assert choose_share(300, rate, 600.0, 50) == share


@given(st.integers(1, 100_000), st.floats(0.001, 10_000), st.floats(1, 100_000), st.integers(1, 50))
def test_a_chosen_share_is_always_a_share(requests: int, rate: float, seconds: float, largest: int) -> None:
    assert 1 <= choose_share(requests, rate, seconds, largest) <= largest


def test_the_bake_gives_the_canary_no_less_than_the_step_before() -> None:
    assert compute_bake_share((5, 25, 100), 5) == 95
    assert compute_bake_share((5, 99, 100), 5) == 99
    assert compute_bake_share((100,), 0) == 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "1 s"), (60, "60 s"), (119, "119 s"), (600, "10 min"), (5400, "90 min"), (86400, "24 h"), (518400, "6 days")],
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert describe_duration(seconds) == text
