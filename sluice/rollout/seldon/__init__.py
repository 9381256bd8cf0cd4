"""Rollouts in a cluster: a SeldonDeployment, the VirtualService that its operator writes, and the controller that moves both.

Belongs here: what is written about a release in a cluster (``predictors``, ``routes``: pure), what is read there (``pods``,
``executors``), what remembers it (``journal``, ``approvals``, ``leases``) and what acts (``controller``). ``api`` is the one
module that talks to the API server. Does not belong here: deciding anything; ``plan`` and ``evidence`` do, as on a laptop.
"""
