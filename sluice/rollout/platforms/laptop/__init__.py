"""Production on one machine: Envoy splits the traffic, and each release is a Seldon microservice in a process of its own.

Belongs here: the process behind `sluice serve` (``supervisor``), the platform that its control rounds drive (``platform``), the
journal on disk (``journal_file``), the servers (``servers``, ``launching``, ``microservices``) and the proxy (``envoy``,
``envoy_config``, ``ports``).
"""
