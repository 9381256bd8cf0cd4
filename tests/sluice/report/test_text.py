from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.report.text import LONGEST, clean_json, clean_text, first_line, read_count, read_moment, read_number


@given(st.text(st.characters(codec=None)))
def test_clean_text_is_what_every_surface_can_carry(text: str) -> None:
    clean = clean_text(text)
    clean.encode()
    assert not any(ord(letter) < 32 and letter not in "\t\n" for letter in clean)
    assert "\x1b" not in clean
    assert clean_text(clean) == clean


def test_clean_text_drops_escapes_and_turned_reading_directions() -> None:
    assert clean_text("\x1b[31mred\x1b[0m \u202egnp.exe") == "[31mred[0m gnp.exe"


def test_clean_text_marks_what_it_cut() -> None:
    assert clean_text("a" * (LONGEST + 7)) == "a" * LONGEST + "… (7 more characters)"


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.5", None, True, [], 10**400])
def test_read_number_takes_finite_numbers_alone(value: object) -> None:
    assert read_number(value) is None


def test_read_count_takes_no_negative() -> None:
    assert read_count(-1) is None
    assert read_count(2.0) == 2


@pytest.mark.parametrize("value", [1_772_460_000, "2026-03-02T14:00:00Z", "2026-03-02T14:00:00", "2026-03-02T15:00:00+01:00"])
def test_read_moment_reads_seconds_and_iso_text(value: object) -> None:
    assert read_moment(value) == 1_772_460_000


@pytest.mark.parametrize("value", ["yesterday", -1, 1e18, None])
def test_read_moment_refuses_what_is_no_date(value: object) -> None:
    assert read_moment(value) is None


def test_clean_json_goes_deep() -> None:
    assert clean_json({"a\x00": [math.nan, {"b": ("\x07x", 1)}]}) == {"a": [None, {"b": ["x", 1]}]}


def test_first_line_skips_empty_lines_and_is_cut() -> None:
    assert first_line("\n\n  Fix it  \nbody") == "Fix it"
    assert first_line("a" * 200, most=10) == "aaaaaaaaa…"
