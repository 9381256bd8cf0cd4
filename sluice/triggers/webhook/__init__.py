"""The webhook: signed messages that start a retraining.

Belongs here: who may send a message, how often, and what was answered. Does not belong here: the data. A message says why a
retraining should start, and nothing else. What is trained, on which data, and whether it reaches production is decided by
sluice.toml, the tests, the gate and a person.
"""
