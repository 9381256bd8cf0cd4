"""What runs inside the process of a suite: the fixtures, their inputs, and the recording of verdicts.

Belongs here: everything behind the pytest plugin ``sluice.checks.plugin``. Does not belong here: starting a suite and reading its
results, because ``sluice.checks.layers`` does that from outside.
"""
