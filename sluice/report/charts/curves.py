"""Square plots of the ROC and the calibration. The challenger's curve is drawn over the champion's."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from sluice.report.charts.scales import Scale, Tick, coordinate, line_path
from sluice.report.formatting import format_interval, format_number, format_percent

if TYPE_CHECKING:
    from sluice.report.results import Calibration, Curve, Curves, Roc

WIDTH, HEIGHT = 340, 320
"""Size of the viewBox, in its own units."""

LEFT, RIGHT, TOP, BOTTOM = 42.0, 330.0, 10.0, 280.0
"""Edges of the plot's frame in the viewBox."""

_MAX_POINTS = 200
_MAX_COLUMN_HEIGHT = 40.0
_X = Scale(0.0, 1.0, LEFT, RIGHT)
_Y = Scale(0.0, 1.0, BOTTOM, TOP)


@dataclass(frozen=True, slots=True)
class Marker:
    """One point of a curve with its interval, in the viewBox's units."""

    x: float
    y: float
    low: float
    high: float
    title: str


@dataclass(frozen=True, slots=True)
class Series:
    """The curve of one model. Its `role` is ``challenger`` or ``champion``."""

    role: str
    path: str
    markers: tuple[Marker, ...]
    label: str


@dataclass(frozen=True, slots=True)
class SquarePlot:
    """A plot of two shares, both from 0 to 1.

    Attributes:
        title: What is plotted.
        x_label: Label of the x axis.
        y_label: Label of the y axis.
        series: The curves. The champion's comes first, so that the challenger's is drawn over it.
        columns: The histogram at the bottom: (x, y, width, height) of each bin, in the viewBox's units.
        diagonal: Path of the reference line.
        x_ticks: Ticks of the x axis, in the viewBox's units.
        y_ticks: Ticks of the y axis, in the viewBox's units.
        description: The content of the plot in words.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    columns: tuple[tuple[float, float, float, float], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    description: str
    diagonal: str = f"M{LEFT:g} {BOTTOM:g}L{RIGHT:g} {TOP:g}"


def draw_roc(curves: Curves) -> SquarePlot | None:
    """Return the plot of both models' ROC curves; None if neither model has one."""
    drawn = [(role, curve.roc) for role, curve in _curves(curves) if curve.roc and curve.roc.fpr]
    if not drawn:
        return None
    series = tuple(Series(role, _roc_path(roc), (), _describe_roc(roc)) for role, roc in drawn)
    return SquarePlot(
        title="ROC",
        x_label="false positive rate",
        y_label="true positive rate",
        series=series,
        columns=(),
        x_ticks=_ticks(_X),
        y_ticks=_ticks(_Y),
        description="ROC curves. " + " ".join(f"{item.role}: {item.label}." for item in series),
    )


def draw_calibration(curves: Curves) -> SquarePlot | None:
    """Return the plot of both models' calibration; None if neither model has bins.

    The histogram counts the challenger's rows, or the champion's if only the champion has bins.
    """
    drawn = [(role, curve.calibration) for role, curve in _curves(curves) if curve.calibration and curve.calibration.predicted]
    if not drawn:
        return None
    series = tuple(_calibration_series(role, bins) for role, bins in drawn)
    return SquarePlot(
        title="Calibration",
        x_label="predicted probability",
        y_label="observed rate",
        series=series,
        columns=_columns(drawn[-1][1]),
        x_ticks=_ticks(_X),
        y_ticks=_ticks(_Y),
        description="Observed rate over predicted probability. " + " ".join(f"{item.role}: {item.label}." for item in series),
    )


def _curves(curves: Curves) -> list[tuple[str, Curve]]:
    pairs = (("champion", curves.champion), ("challenger", curves.challenger))
    return [(role, curve) for role, curve in pairs if curve is not None]


def _ticks(scale: Scale) -> tuple[Tick, ...]:
    return tuple(Tick(scale.place(value), f"{value:g}") for value in (0.0, 0.25, 0.5, 0.75, 1.0))


def _roc_path(roc: Roc) -> str:
    points = list(zip(roc.fpr, roc.tpr, strict=False))
    if not points:
        return ""
    stride = max(1, -(-len(points) // _MAX_POINTS))
    kept = [*points[:-1:stride], points[-1]]
    return line_path(kept, _X, _Y)


def _describe_roc(roc: Roc) -> str:
    text = f"AUC {format_number(roc.auc, decimals=3)}"
    return f"{text} {format_interval(roc.interval)}" if roc.interval else text


def _calibration_series(role: str, bins: Calibration) -> Series:
    low = bins.low or bins.observed
    high = bins.high or bins.observed
    points = list(zip(bins.predicted, bins.observed, low, high, strict=False))
    markers = tuple(
        Marker(
            _X.place(predicted),
            _Y.place(observed),
            _Y.place(bottom),
            _Y.place(top),
            f"{role}: predicted {format_percent(predicted)}, observed {format_percent(observed)}",
        )
        for predicted, observed, bottom, top in points
    )
    path = line_path([(predicted, observed) for predicted, observed, _, _ in points], _X, _Y)
    farthest = max((abs(predicted - observed) for predicted, observed, _, _ in points), default=0.0)
    return Series(role, path, markers, f"largest gap {farthest * 100:.1f} points")


def _columns(bins: Calibration) -> tuple[tuple[float, float, float, float], ...]:
    """Return the histogram of rows. Each column reaches to the middles between its bin and the neighbouring bins."""
    pairs = sorted(zip(bins.predicted, bins.rows, strict=False))
    if not pairs or max(rows for _, rows in pairs) <= 0:
        return ()
    middles = [(left + right) / 2 for (left, _), (right, _) in pairwise(pairs)]
    edges = (
        [max(0.0, 2 * pairs[0][0] - middles[0]), *middles, min(1.0, 2 * pairs[-1][0] - middles[-1])] if middles else [0.0, 1.0]
    )
    # The area of a column stands for its number of rows, because bins with equal numbers of rows differ in width.
    densities = [rows / max(right - left, 1e-6) for (_, rows), (left, right) in zip(pairs, pairwise(edges), strict=True)]
    columns = []
    for density, (left, right) in zip(densities, pairwise(edges), strict=True):
        start, end = (float(coordinate(_X.place(edge))) for edge in (left, right))
        height = _MAX_COLUMN_HEIGHT * density / max(densities)
        columns.append((start, BOTTOM - height, max(0.5, end - start - 1), height))
    return tuple(columns)
