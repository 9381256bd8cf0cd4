"""The four test layers: run a project's pytest suite as one layer, and turn its results into verdicts and files.

Belongs here: the pytest plugin with its fixtures, the functions that turn numbers into verdicts, the run of one layer in a child
process, and the files that a layer writes. Does not belong here: the statistics (`sluice.statistics`), the definition of a
verdict (`sluice.verdicts`), the checks of a project (they are in the project's ``tests/``), and the decision whether a model is
promoted (`sluice.gate`).

This module imports nothing, because pytest loads `sluice.checks.plugin` at every start.
"""
