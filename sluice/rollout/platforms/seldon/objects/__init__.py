"""The Kubernetes objects of a rollout, read and planned as plain dicts. Everything here is pure.

Belongs here: the predictors of a SeldonDeployment, the routes of a VirtualService and the Pods behind them. Does not belong here:
calls to the API server.
"""
