"""The forms of a report: terminal, HTML page, Markdown and JUnit XML, all made from one result model (``sluice.report.results``)."""
