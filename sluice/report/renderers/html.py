"""The report as one self-contained HTML page with inline CSS and SVG, without scripts and without requests.

A content security policy in the page forbids all scripts and requests, so that nothing could run even if a text were not escaped.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from sluice.report import formatting
from sluice.report.badges import DIRTY, UNPROVEN, badge_of
from sluice.report.safe_values import first_line
from sluice.report.views import view_page

if TYPE_CHECKING:
    from sluice.report.results import Report

_FILTERS = {
    "count": formatting.format_count,
    "datetime": formatting.format_datetime,
    "duration": formatting.format_duration,
    "first_line": first_line,
    "interval": formatting.format_interval,
    "level": formatting.format_level,
    "moment": formatting.format_moment,
    "number": formatting.format_number,
    "short": formatting.shorten_digest,
    "signed": formatting.format_signed,
    "threshold": formatting.format_threshold,
    "words": formatting.format_words,
}


def render_html(report: Report) -> str:
    """Render the report as an HTML page.

    Args:
        report: What to show.

    Returns:
        A whole HTML document. The same report always gives the same text.
    """
    return _environment().get_template("report.html.j2").render(page=view_page(report))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sluice.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= _FILTERS
    environment.tests["digest"] = formatting.is_digest
    environment.globals |= {"UNPROVEN": UNPROVEN, "DIRTY": DIRTY, "badge_of": badge_of}
    return environment
