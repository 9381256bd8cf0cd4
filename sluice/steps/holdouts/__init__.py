"""The code of `sluice holdout`: the holdout's state, a new holdout from fresh data, and the switch to it.

What belongs here: reading the rows, calling ``sluice.data`` and the gate's ledger, and writing files. What does not belong
here: the gate's decision (``sluice.gate``), and the checks before a training (``sluice.steps.before_training``).
"""
