"""The engine for Argo Workflows. It talks to the Kubernetes API server alone and needs no Argo server.

What belongs here: calls of the API server, the planning of objects (pure), and reading the status of a Workflow (pure). What does
not belong here: the compiler (`sluice.argo`).
"""
