"""What Argo's scheduler takes as a schedule and a time zone, and Kubernetes as a name."""

from __future__ import annotations

import pytest

from sluice.argo.objects.schedules import check_name, check_schedule, check_timezone
from sluice.errors import UsageError


@pytest.mark.parametrize(
    "text",
    ["17 4 * * 1", "*/5 0-6,22 1,15 jan-MAR mon-fri", "0 0 ? * SUN", "5/10 * * * *", "@daily", "@every 1h30m", " 0  6 * * 0 "],
)
def test_a_schedule_that_argo_takes(text: str) -> None:
    check_schedule(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 fields"),
        ("garbage", "1 fields"),
        ("0 0 * * * *", "6 fields"),
        ("60 * * * *", "'60' is no minute"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "'0' is no day of the month"),
        ("* * * foo *", "'foo' is no month"),
        ("* * * * 7", "'7' is no day of the week"),
        ("*/0 * * * *", "is no minute"),
        ("5-1 * * * *", "is no minute"),
        ("1,, * * * *", "is no minute"),
        ("@sometimes", "1 fields"),
        ("@every day", "2 fields"),
    ],
)
def test_a_schedule_that_argo_does_not_take_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_schedule(text)
    assert caught.value.hint


def test_a_time_zone_exists_or_is_refused() -> None:
    check_timezone("Europe/Berlin")
    with pytest.raises(UsageError, match="no time zone 'Mars/X'"):
        check_timezone("Mars/X")


@pytest.mark.parametrize("name", ["Bad_Name!", "-a", "a-", "a" * 53, "a b", ""])
def test_a_name_that_kubernetes_does_not_take_is_refused(name: str) -> None:
    check_name("a-good.name-1", "--name")
    with pytest.raises(UsageError, match="no name that Kubernetes takes"):
        check_name(name, "--name")
