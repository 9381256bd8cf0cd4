"""The whole Argo object: Workflow, WorkflowTemplate or CronWorkflow, its YAML text, and what can be said about it.

What belongs here: the fields around the templates, checks of the object's name and schedules, and the explanation that
``sluice compile --explain`` shows. What does not belong here: the templates themselves (`sluice.argo.dags`, `sluice.argo.steps`).
"""
