"""The gate decides whether a challenger may replace the champion. It compares them on the gate rows, which nothing else uses.

Belongs here: the decision (``decision``; pure), asking a question (``questions``), and the ledger, which counts every question to
a holdout (``ledger``, ``ledger_documents``). Does not belong here: reading rows, loading models, registries, and anything that
shows a score that the gate must keep secret.
"""
