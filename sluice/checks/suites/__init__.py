"""What runs inside the process of a test suite: the fixtures, what they are given, and the recording of verdicts.

Belongs here: everything behind the pytest plugin ``sluice.checks.plugin``. Does not belong here: starting a suite and reading its
results; ``sluice.checks.layers`` does that from outside.
"""
