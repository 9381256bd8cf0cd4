"""The report: one model of what happened, shown in a terminal, as an HTML page, as Markdown and as JUnit XML.

`results` is the model. `record_reader` fills it from the records of runs, and `renderers` turn it into text. `charts` computes
the geometry of the plots, and `templates` holds the HTML page. Everything that a report shows is in the model, so the same model
always gives the same bytes.

What does not belong here: decisions, running anything, judging (the verdicts are in the records), clocks, and network requests.
"""
