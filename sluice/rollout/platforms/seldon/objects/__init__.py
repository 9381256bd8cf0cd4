"""The Kubernetes objects of a rollout as plain dicts: reading them, and building the desired ones. Everything here is pure.

Belongs here: the predictors of a SeldonDeployment, the routes of a VirtualService and the Pods behind them. Does not belong here:
calls to the API server.
"""
