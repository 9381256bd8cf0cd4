"""How each outcome is shown: word, glyph, the page's icon and a tone. Colour comes from the tone and is never the only sign."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.report.formats import format_words


@dataclass(frozen=True, slots=True)
class Sign:
    """An outcome's look.

    Attributes:
        word: For a person.
        glyph: One character, for the terminal and Markdown.
        icon: Name of a symbol in ``templates/icons.svg``.
        tone: ``ok``, ``bad``, ``warn`` or ``quiet``.
    """

    word: str
    glyph: str
    icon: str
    tone: str


_SIGNS = {
    "pass": Sign("pass", "✓", "check", "ok"),
    "passed": Sign("passed", "✓", "check", "ok"),
    "promoted": Sign("promoted", "▲", "up", "ok"),
    "kept": Sign("champion kept", "■", "keep", "quiet"),
    "unchanged": Sign("unchanged", "■", "keep", "quiet"),
    "fail": Sign("fail", "✗", "cross", "bad"),
    "failed": Sign("failed", "✗", "cross", "bad"),
    "rolled_back": Sign("rolled back", "↩", "back", "warn"),
    "restored": Sign("restored", "↩", "back", "ok"),
    "aborted": Sign("aborted", "⊘", "stop", "warn"),
    "rejected": Sign("rejected", "⊘", "stop", "warn"),
    "interrupted": Sign("interrupted", "‖", "pause", "warn"),
    "inconclusive": Sign("inconclusive", "?", "question", "warn"),
    "skipped": Sign("skipped", "\N{EN DASH}", "skip", "quiet"),
    "waiting": Sign("waiting", "…", "pause", "quiet"),
    "running": Sign("not ended", "…", "pause", "warn"),
    "shadow": Sign("shadow", "…", "pause", "quiet"),
    "baking": Sign("baking", "…", "pause", "quiet"),
}
UNPROVEN = Sign("unproven", "≈", "unproven", "warn")
NOT_RUN = Sign("not run", "\N{EN DASH}", "skip", "quiet")
AS_EXPECTED = Sign("as expected", "✓", "check", "ok")
NOT_AS_EXPECTED = Sign("not as expected", "✗", "cross", "bad")
DIRTY = Sign("uncommitted changes", "±", "dirty", "warn")


def sign_of(outcome: str) -> Sign:
    """The look of an outcome; one that is not known is shown by its own words."""
    return _SIGNS.get(outcome) or Sign(format_words(outcome) or "unknown", "?", "question", "quiet")


def sign_of_expectation(as_expected: bool | None) -> Sign | None:  # noqa: FBT001 - three values, one argument
    """The look of an act that had an expectation; None for others."""
    if as_expected is None:
        return None
    return AS_EXPECTED if as_expected else NOT_AS_EXPECTED
