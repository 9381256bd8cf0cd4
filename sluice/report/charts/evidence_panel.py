"""The panel that shows the evidence against the canary over time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sluice.report.charts.panels import MAX_POINTS, Line, Panel, place_dot, sample_time
from sluice.report.charts.scales import Scale, Tick, line_path
from sluice.report.charts.series import thin_points
from sluice.report.formatting import format_number, format_words
from sluice.report.safe_values import read_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.report.results import Rollout, Sample

DEFAULT_E_VALUE_LIMIT = 100.0
"""The e-value at which a canary is rolled back, if the record does not say (the rule of the design)."""

_MIN_E_VALUE = 0.01
"""Smaller e-values are drawn at this one."""


def draw_evidence(rollout: Rollout, samples: Sequence[Sample], x: Scale) -> Panel | None:
    """Return the panel with the e-value on a log scale, and the line at which the canary is rolled back.

    A decision is made within a tenth of a second, so the last rise of the e-value is seldom in a sample. Therefore the e-value of
    each decision is drawn too, as a point of the line and as a dot.

    Returns:
        None if neither a sample nor a decision has an e-value.
    """
    seen = [(sample_time(sample), sample.e_value) for sample in samples if sample.e_value is not None and sample.e_value >= 0]
    decided = _values_at_decisions(rollout, x)
    values = sorted([*seen, *((time, value) for time, value, _ in decided)])
    if not values:
        return None
    limit = _e_value_limit(rollout)
    highest = max(value for _, value in values)
    decades = range(round(math.log10(_MIN_E_VALUE)), math.ceil(math.log10(max(highest, limit) * 3)) + 1)
    y = Scale(decades[0], decades[-1], 100.0, 0.0)
    logs = [(time, math.log10(max(value, _MIN_E_VALUE))) for time, value in values]
    ends = thin_points(logs, max_points=MAX_POINTS)
    path = line_path(ends, x, y)
    stride = -(-len(decades) // 4)
    shown = [decade for decade in decades if decade % stride == 0]
    return Panel(
        key="evidence",
        title="Evidence against the canary",
        note="e-value on a log scale; a dot shows the value at a decision",
        areas=(Line("canary", f"{path}L{x.place(ends[-1][0]):.1f} 100L{x.place(ends[0][0]):.1f} 100Z", ""),),
        lines=(Line("canary", path, ""),),
        ticks=tuple(Tick(y.place(decade), f"{10.0**decade:g}" if abs(decade) < 4 else f"1e{decade}") for decade in shown),  # noqa: PLR2004
        dots=tuple(
            place_dot("canary", time, math.log10(max(value, _MIN_E_VALUE)), x, y, title) for time, value, title in decided
        ),
        threshold=Tick(y.place(math.log10(limit)), f"rolled back at e ≥ {limit:g}"),
        description=(
            f"Evidence against the canary: the highest e-value is {format_number(highest)}; "
            f"the canary is rolled back at {limit:g}."
        ),
    )


def _e_value_limit(rollout: Rollout) -> float:
    for name in ("evidence_threshold", "evidence_limit", "condemn_at"):
        value = rollout.numbers.get(name)
        if isinstance(value, int | float) and value > 1:
            return float(value)
    return DEFAULT_E_VALUE_LIMIT


def _values_at_decisions(rollout: Rollout, x: Scale) -> list[tuple[float, float, str]]:
    """Return time, e-value and title of each decision that has an e-value."""
    found = []
    for transition in rollout.transitions:
        value, moment = read_number(transition.evidence.get("e_value")), transition.decided
        has_requests = read_number(transition.evidence.get("canary_requests")) != 0  # without a request there is no evidence
        if has_requests and value is not None and value >= 0 and moment is not None and x.low <= moment <= x.high:
            found.append((moment, value, f"{format_words(transition.to)}: e-value {format_number(value)}"))
    return found
