"""How much of the traffic may move at once: what a rule knows (``situations``), and what ready Pods can take (``capacities``).

Everything here is pure, as in all of `sluice.rollout.decisions`. The rules themselves are in ``plan``.
"""
