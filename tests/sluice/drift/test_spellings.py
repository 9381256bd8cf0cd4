"""Hints about new categories that are known ones in another spelling."""

from __future__ import annotations

from sluice.drift.spellings import find_spellings


def test_case_spaces_and_unicode_forms_are_other_spellings() -> None:
    new = {"MONTHLY": 5, "two\u00a0 years": 2, "\uff4donthly": 1, "weekly": 9}
    assert find_spellings(["monthly", "two years"], new) == [
        "'MONTHLY' (5 rows) is 'monthly' in another spelling",
        "'two\\xa0 years' (2 rows) is 'two years' in another spelling",
        "'\uff4donthly' (1 row) is 'monthly' in another spelling",
    ]


def test_only_the_most_frequent_are_listed() -> None:
    known = [f"c{number}" for number in range(10)]
    hints = find_spellings(known, {name.upper(): number + 1 for number, name in enumerate(known)})
    assert len(hints) == 4
    assert hints[0] == "'C9' (10 rows) is 'c9' in another spelling"
    assert hints[-1] == "7 more new categories are known ones in another spelling"


def test_a_punctuation_mark_is_no_other_spelling() -> None:
    assert find_spellings(["month-to-month"], {"month to month": 3, "month_to_month": 2}) == []
