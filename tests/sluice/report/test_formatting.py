from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.report import formatting
from sluice.verdicts import Interval, Outcome, Verdict


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "\N{EN DASH}"),
        (0.0, "0"),
        (0.84612, "0.846"),
        (12.345, "12.35"),
        (20000.0, "20,000"),
        (7412.6, "7,413"),
        (123.456, "123.5"),
        (0.00042, "0.000420"),
        (-0.5, "\N{MINUS SIGN}0.500"),
        (1e-9, "1.0e-09"),
        (1e15, "1.00e+15"),
    ],
)
def test_format_number(value: float | None, expected: str) -> None:
    assert formatting.format_number(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "\N{EN DASH}"),
        (0, "0 s"),
        (0.412, "412 ms"),
        (0.9996, "1 s"),
        (8.44, "8.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (72, "1 min 12 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_format_duration(seconds: float | None, expected: str) -> None:
    assert formatting.format_duration(seconds) == expected


@given(st.floats(min_value=0, max_value=1e7))
def test_format_duration_never_shows_sixty_of_a_unit(seconds: float) -> None:
    text = formatting.format_duration(seconds)
    assert not text.startswith(("60 s", "60 min", "1000 ms"))
    assert " 60 " not in text


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.8, "≥ 0.80"), (0.005, "≥ 0.005"), (400.0, "≥ 400"), (0.0, "≥ 0"), (-0.5, "≥ \N{MINUS SIGN}0.50"), (1e-9, "≥ 1.0e-09")],
)
def test_format_threshold_does_not_round_the_number(threshold: float, expected: str) -> None:
    assert formatting.format_threshold(Verdict(check="c", outcome=Outcome.PASS, threshold=threshold, comparison=">=")) == expected


def test_format_interval_gives_both_ends_the_same_number_of_decimals() -> None:
    assert formatting.format_interval(Interval(0.9, 1.0, 0.95, "Wilson")) == "[0.900, 1.000]"
    assert formatting.format_interval(Interval(-0.001, 0.02, 0.95, "x"), signed=True) == "[\N{MINUS SIGN}0.0010, +0.0200]"


def test_levels_and_per_cents_have_no_trailing_zeros() -> None:
    assert formatting.format_level(0.95) == "95 %"
    assert formatting.format_level(1 - 0.05 / 52) == "99.904 %"
    assert formatting.format_percent(0.021) == "2.1 %"
    assert formatting.format_percent(0.5) == "50 %"
    assert formatting.format_percent(0.0) == "0 %"


def test_digests_are_shortened_and_other_text_stays() -> None:
    digest = "sha256:" + "ab12" * 16
    assert formatting.shorten_digest(digest) == "ab12ab12ab12"
    assert formatting.shorten_digest("release-2") == "release-2"
    assert formatting.is_digest("ab" * 20)
    assert not formatting.is_digest("sha256:<script>")


def test_moments_are_in_utc_in_every_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert formatting.format_moment(1_772_460_000) == "2026-03-02 14:00:00 UTC"
