"""The page of reference about Sluice's kinds is the one that their schemas give."""

from __future__ import annotations

from tools import kinds_reference


def test_the_page_is_made_from_the_schemas() -> None:
    assert kinds_reference.PAGE.read_text(encoding="utf-8") == kinds_reference.build_page(), "run python tools/kinds_reference.py"


def test_every_field_is_described() -> None:
    rows = [line for line in kinds_reference.build_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    assert not [row for row in rows if row.endswith("|  |")]
