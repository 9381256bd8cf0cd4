"""A release's server as a container: what the platform and a step's Pod plan for it, and the names that its server is asked by.

Belongs here: plans for Kubernetes as plain dicts, free of every library, because the controller and each `sluice rollout` command
import them, and the serving image copies them. Does not belong here: the server itself, and the calls that start a Pod.
"""
