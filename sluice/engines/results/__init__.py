"""What a run in a cluster recorded: objects of its artifact store, and the result that a report shows.

What belongs here: what the engines in a cluster share after a run. What does not belong here: where an engine lists its artifacts
(`sluice.engines.argo`, `sluice.engines.kfp`), and how a report looks (`sluice.report`).
"""
