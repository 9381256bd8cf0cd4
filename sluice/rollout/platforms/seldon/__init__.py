"""Production in a cluster: a ModelRollout, its SeldonDeployment and VirtualService, and the controller that changes them.

Belongs here: the process behind `sluice rollout controller` (``controller``), the platform that its control rounds drive
(``platform``), the calls to the API server and its time (``api``, ``server_times``), Sluice's own kinds and the lease
(``resources``, ``leases``), what a control round reads (``cluster_snapshots``, ``counters``, ``objects``) and writes
(``deployments``), and what the controller publishes (``telemetry``, ``metrics_server``, ``registry_tags``). Does not belong here:
deciding anything.
"""
