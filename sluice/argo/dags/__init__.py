"""The Argo template of one DAG: its tasks, their order, arguments, conditions and loops.

What belongs here: everything that needs to know the tasks around a task. What does not belong here: the template of a single step
(`sluice.argo.steps`), and the fields of the object around all templates (`sluice.argo.objects`).
"""
