"""The Kubernetes fields of one step's pod: volumes, environment variables, scheduling, and the other settings of kfp-kubernetes.

What belongs here: handlers that set fields of a `Pod`. What does not belong here: the command, inputs and outputs of a step
(`sluice.argo.steps`).
"""
