"""Production in a cluster: a SeldonDeployment, the VirtualService that its operator writes, and the controller that changes both.

Belongs here: the process behind `sluice rollout controller` (``controller``), the platform that its control rounds drive
(``platform``), the calls to the API server (``api``), the journal, requests and approvals as Kubernetes objects
(``journal_annotations``, ``request_annotations``, ``approval_objects``, ``leases``), what a control round reads
(``cluster_snapshots``, ``executors``, ``objects``), and what the controller publishes (``telemetry``, ``metrics_server``,
``registry_tags``). Does not belong here: deciding anything.
"""
