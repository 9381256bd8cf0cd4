"""Argo expressions: how values, names, artifact locations and conditions are written in Argo's expression language.

What belongs here: functions from a value, a name or a condition to the text of an expression. What does not belong here: whole
fields of a pod (`sluice.argo.pod_settings`), and everything that needs to know the pipeline around a value (`sluice.argo.dags`).
"""
