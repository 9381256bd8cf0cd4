"""Tests of the checks of schedules, time zones and object names."""

from __future__ import annotations

import pytest

from sluice.argo.objects.schedules import check_name, check_schedule, check_timezone
from sluice.errors import UsageError


@pytest.mark.parametrize(
    "text",
    ["17 4 * * 1", "*/5 0-6,22 1,15 jan-MAR mon-fri", "0 0 ? * SUN", "5/10 * * * *", "@daily", "@every 1h30m", " 0  6 * * 0 "],
)
def test_a_valid_schedule_passes(text: str) -> None:
    check_schedule(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 fields"),
        ("garbage", "1 fields"),
        ("0 0 * * * *", "6 fields"),
        ("60 * * * *", "'60' is not a valid minute"),
        ("* 24 * * *", "'24' is not a valid hour"),
        ("* * 0 * *", "'0' is not a valid day of the month"),
        ("* * * foo *", "'foo' is not a valid month"),
        ("* * * * 7", "'7' is not a valid day of the week"),
        ("*/0 * * * *", "is not a valid minute"),
        ("5-1 * * * *", "is not a valid minute"),
        ("1,, * * * *", "is not a valid minute"),
        ("@sometimes", "1 fields"),
        ("@every day", "2 fields"),
    ],
)
def test_an_invalid_schedule_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_schedule(text)
    assert caught.value.hint


def test_a_time_zone_that_does_not_exist_is_refused() -> None:
    check_timezone("Europe/Berlin")
    with pytest.raises(UsageError, match="no time zone has the name 'Mars/X'"):
        check_timezone("Mars/X")


@pytest.mark.parametrize("name", ["Bad_Name!", "-a", "a-", "a" * 53, "a b", ""])
def test_a_name_that_kubernetes_does_not_accept_is_refused(name: str) -> None:
    check_name("a-good.name-1", "--name")
    with pytest.raises(UsageError, match="not a name that Kubernetes accepts"):
        check_name(name, "--name")
