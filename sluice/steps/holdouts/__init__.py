"""The code that concerns the holdout itself: checks before training, its age, a new one, and the rotation to it.

What belongs here: reading the rows, calling ``sluice.data``, ``sluice.leaks`` and the gate's ledger, and writing the results.
What does not belong here: the decision of the gate (``sluice.gate``), and counting or hashing rows (``sluice.data``).
"""
