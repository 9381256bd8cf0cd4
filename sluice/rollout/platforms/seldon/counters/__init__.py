"""Counting the requests of each release: only what came through the gateway is evidence.

Belongs here: reading what the gateway's proxies counted (``gateway``, and pure ``gateway_metrics`` and ``cluster_names``) and
what the executors counted (``executors``), keeping what both agree on (``matching``, ``durations``, ``rests``, ``tallies``),
comparing the gateway's counts with the weights (``shares``), and all of it together (``counting``). Does not belong here: judging
a release.
"""
