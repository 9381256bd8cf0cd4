"""The report: one model of what happened, shown as terminal, HTML, Markdown and JUnit XML.

`results` is the model, `collect` reads it from run records, `html`, `terminal`, `markdown` and `junit` show it, `charts` holds
the geometry of the plots, `templates` the page. Everything that is shown is in the model: the same model gives the same bytes.

Does not belong here: anything that decides, runs or judges (the verdicts come ready), clocks, and any request over a network.
"""
