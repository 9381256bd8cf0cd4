"""The decisions of a rollout. Everything here is pure: values in, values out, no clock and no I/O.

Belongs here: the values of a rollout (``states``, ``health``), the plan and the journal after it (``plan``, ``transitions``), how
far traffic may move at once (``moves``), and the evidence with its judgements (``evidence``, ``interim_looks``,
``shadow_comparisons``, ``evidence_collector``). Does not belong here: anything that reads or moves traffic; platforms do that.
"""
