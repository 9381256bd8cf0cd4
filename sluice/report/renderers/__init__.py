"""The forms of a report: terminal, HTML page, Markdown and JUnit XML.

Each renderer takes one `sluice.report.results.Report` and returns what to print or to write.
"""
