"""What is checked before a model is trained: that the files of a release exist, that training data and holdout fit together.

What belongs here: reading the rows, calling ``sluice.data`` and ``sluice.leaks``, and refusing or warning. What does not belong
here: counting or hashing rows (``sluice.data``), and replacing the holdout (``sluice.steps.holdouts``).
"""
