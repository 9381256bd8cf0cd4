"""Statistics on plain arrays and counts: AUC intervals and tests, error rates, sequential evidence, curves, PSI, multiplicity.

Belongs here: pure functions of numpy arrays, numbers and frozen dataclasses, each with the paper it comes from. Does not
belong here: input and output, pandas, anything that knows a project, a release or a rollout, thresholds that decide.
"""
