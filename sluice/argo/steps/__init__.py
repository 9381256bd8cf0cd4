"""The Argo template of one step: its container with command and arguments, its inputs and outputs, retries and caching.

What belongs here: everything about a component that has an executor. What does not belong here: the order of the tasks, their
conditions and loops (`sluice.argo.dags`).
"""
