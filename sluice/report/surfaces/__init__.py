"""The forms of a report: terminal, HTML page, Markdown and JUnit XML.

All of them are made from one result model, ``sluice.report.results``.
"""
