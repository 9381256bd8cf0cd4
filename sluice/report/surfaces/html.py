"""The report as one self-contained HTML page: inline CSS and SVG, no script, no request to anywhere.

A content security policy in the page forbids scripts and requests altogether, so that even a fault in escaping could not run
anything.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from sluice.report import formats
from sluice.report.signs import DIRTY, UNPROVEN, sign_of
from sluice.report.text import first_line
from sluice.report.views import view_page

if TYPE_CHECKING:
    from sluice.report.results import Report

_FILTERS = {
    "count": formats.format_count,
    "datetime": formats.format_datetime,
    "duration": formats.format_duration,
    "first_line": first_line,
    "interval": formats.format_interval,
    "level": formats.format_level,
    "moment": formats.format_moment,
    "number": formats.format_number,
    "short": formats.shorten_digest,
    "signed": formats.format_signed,
    "threshold": formats.format_threshold,
    "words": formats.format_words,
}


def render_html(report: Report) -> str:
    """The page.

    Args:
        report: What to show.

    Returns:
        A whole HTML document; the same model always gives the same text.
    """
    return _environment().get_template("report.html.j2").render(page=view_page(report))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sluice.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= _FILTERS
    environment.tests["digest"] = formats.is_digest
    environment.globals |= {"UNPROVEN": UNPROVEN, "DIRTY": DIRTY, "sign_of": sign_of}
    return environment
