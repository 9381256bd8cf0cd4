"""The four test layers: run a project's pytest suite as a layer, judge, and leave the results as verdicts and pages.

Belongs here: the pytest plugin with its fixtures, functions that turn numbers into verdicts, the run of one layer in a
child process, and the files that a layer leaves. Must not be here: the statistics themselves (`sluice.statistics`),
what a verdict is (`sluice.verdicts`), any project's own checks (the project's ``tests/``), and the decision over a
promotion (`sluice.gate`).

The package imports nothing by itself: pytest loads `sluice.checks.plugin` at every start.
"""
