"""How each outcome is shown: a word, a glyph, an icon for the HTML page, and a tone.

The tone chooses the colour. The word and the glyph say the same, so a reader does not need the colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.report.formatting import format_words

if TYPE_CHECKING:
    from sluice.report.results import RunResult


@dataclass(frozen=True, slots=True)
class Badge:
    """How one outcome is shown.

    Attributes:
        word: The outcome as a person reads it.
        glyph: One character, for the terminal and Markdown.
        icon: Name of a symbol in ``templates/icons.svg``.
        tone: ``ok``, ``bad``, ``warn`` or ``quiet``.
    """

    word: str
    glyph: str
    icon: str
    tone: str


_BADGES = {
    "pass": Badge("pass", "✓", "check", "ok"),
    "passed": Badge("passed", "✓", "check", "ok"),
    "promoted": Badge("promoted", "▲", "up", "ok"),
    "kept": Badge("champion kept", "■", "keep", "quiet"),
    "unchanged": Badge("unchanged", "■", "keep", "quiet"),
    "fail": Badge("fail", "✗", "cross", "bad"),
    "failed": Badge("failed", "✗", "cross", "bad"),
    "rolled_back": Badge("rolled back", "↩", "back", "warn"),
    "restored": Badge("restored", "↩", "back", "ok"),
    "aborted": Badge("aborted", "⊘", "stop", "warn"),
    "rejected": Badge("rejected", "⊘", "stop", "warn"),
    "undecided": Badge("undecided", "?", "question", "warn"),
    "interrupted": Badge("interrupted", "‖", "pause", "warn"),
    "cut_off": Badge("cut off", "‖", "pause", "bad"),
    "inconclusive": Badge("inconclusive", "?", "question", "warn"),
    "skipped": Badge("skipped", "\N{EN DASH}", "skip", "quiet"),
    "waiting": Badge("waiting", "…", "pause", "quiet"),
    "running": Badge("not ended", "…", "pause", "warn"),
    "shadow": Badge("shadow", "…", "pause", "quiet"),
    "baking": Badge("baking", "…", "pause", "quiet"),
    "baking-diverted": Badge("baking, all traffic diverted", "!", "pause", "warn"),
}
NO_DRIFT = Badge("no drift found", "■", "keep", "quiet")
UNPROVEN = Badge("unproven", "≈", "unproven", "warn")
NOT_RUN = Badge("not run", "\N{EN DASH}", "skip", "quiet")
AS_EXPECTED = Badge("as expected", "✓", "check", "ok")
NOT_AS_EXPECTED = Badge("not as expected", "✗", "cross", "bad")
DIRTY = Badge("uncommitted changes", "±", "dirty", "warn")


def badge_of(outcome: str) -> Badge:
    """Return the badge of an outcome. An unknown outcome gets a badge with its own name."""
    return _BADGES.get(outcome) or Badge(format_words(outcome) or "unknown", "?", "question", "quiet")


def badge_of_run(run: RunResult) -> Badge:
    """Return the badge of a run. A champion that was kept because nothing was trained did not win over a challenger."""
    ran = {step.name for step in run.steps if step.outcome in {"pass", "fail"}}
    return NO_DRIFT if run.outcome == "kept" and "drift" in ran and "train" not in ran else badge_of(run.outcome)


def badge_of_expectation(as_expected: bool | None) -> Badge | None:  # noqa: FBT001 - three values, one argument
    """Return the badge of an act that has an expectation; None for an act without one."""
    if as_expected is None:
        return None
    return AS_EXPECTED if as_expected else NOT_AS_EXPECTED
