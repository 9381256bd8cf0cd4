from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.report.safe_values import MAX_CHARACTERS, clean_json, clean_text, first_line, read_count, read_moment, read_number


@given(st.text(st.characters(codec=None)))
def test_clean_text_can_be_shown_in_every_form_of_the_report(text: str) -> None:
    clean = clean_text(text)
    clean.encode()
    assert not any(ord(letter) < 32 and letter not in "\t\n" for letter in clean)
    assert "\x1b" not in clean
    assert clean_text(clean) == clean


def test_clean_text_drops_terminal_escapes_and_direction_marks() -> None:
    assert clean_text("\x1b[31mred\x1b[0m \u202egnp.exe") == "[31mred[0m gnp.exe"


def test_clean_text_says_how_much_it_cut() -> None:
    assert clean_text("a" * (MAX_CHARACTERS + 7)) == "a" * MAX_CHARACTERS + "… (7 more characters)"


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.5", None, True, [], 10**400])
def test_read_number_accepts_only_finite_numbers(value: object) -> None:
    assert read_number(value) is None


def test_read_count_accepts_no_negative_number() -> None:
    assert read_count(-1) is None
    assert read_count(2.0) == 2


@pytest.mark.parametrize("value", [1_772_460_000, "2026-03-02T14:00:00Z", "2026-03-02T14:00:00", "2026-03-02T15:00:00+01:00"])
def test_read_moment_reads_epoch_seconds_and_iso_text(value: object) -> None:
    assert read_moment(value) == 1_772_460_000


@pytest.mark.parametrize("value", ["yesterday", -1, 1e18, None])
def test_read_moment_returns_none_for_other_values(value: object) -> None:
    assert read_moment(value) is None


def test_clean_json_cleans_nested_values() -> None:
    assert clean_json({"a\x00": [math.nan, {"b": ("\x07x", 1)}]}) == {"a": [None, {"b": ["x", 1]}]}


def test_first_line_skips_empty_lines_and_cuts_a_long_line() -> None:
    assert first_line("\n\n  Fix it  \nbody") == "Fix it"
    assert first_line("a" * 200, max_characters=10) == "aaaaaaaaa…"
