"""What `sluice doctor` checks: whether this machine, an engine's server, the registry and a platform are ready, and the fix.

What belongs here: questions that change nothing of a run (one blob in the registry is the only thing that is written). What does
not belong here: the checks of models and data (`sluice.checks`), and what a run checks itself before it trains (`sluice.steps`).
"""
