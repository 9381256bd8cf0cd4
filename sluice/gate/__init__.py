"""The promotion gate: may a challenger replace the champion, judged on rows that nothing else ever sees?

Belongs here: the decision (pure: labels and scores in, one bit out) and the ledger that counts every question to a holdout.
Does not belong here: reading rows, loading models, registries, and anything that shows a score that the gate keeps to
itself.
"""
