"""The gate decides whether a challenger may replace the champion. It compares them on the gate rows, which nothing else uses.

Belongs here: the decision (``decision``; pure), asking a question (``questions``), the ledger, which records every question
(``ledger``, ``ledger_documents``, ``stores``), how questions are counted (``budgets``; pure), and what the gate can see
(``power``; pure). Does not belong here: reading rows, loading models, registries, and anything that shows a score that the gate
must keep secret.
"""
