"""Statistics on plain arrays and counts.

They are AUC intervals and tests, error rates, sequential evidence, curves, the population stability index and adjusted p-values.

Belongs here: pure functions of numpy arrays, numbers and frozen dataclasses, each with the paper that it comes from. Does not
belong here: input and output, pandas, code that knows a project, a release or a rollout, and the thresholds of decisions.
"""
