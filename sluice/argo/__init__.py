"""The Argo target of the compiler: it lowers the graph of `sluice.ir` to plain Argo Workflows.

The result is plain dicts that any Argo accepts. No KFP backend is needed to run them.

What belongs here: everything that only Argo needs. The packages build on each other in this order:

- `launcher`: the script that runs a KFP component in the image of its own step.
- `refusals`: constructs that Argo cannot express.
- `expressions`: values, names, artifact locations and conditions as Argo expressions.
- `component_kinds` and `compilation`: questions about components, and the data types that all later packages share.
- `pod_settings`: the Kubernetes fields of one pod.
- `steps`: the Argo template of one step.
- `dags`: the Argo template of one DAG, with its conditions and loops.
- `objects`: the whole Workflow, WorkflowTemplate or CronWorkflow.

What does not belong here: reading IR (`sluice.ir`), talking to a cluster (`sluice.engines`), and imports of `kfp` or `hera`.

How a value travels: every Argo parameter holds *wire JSON*. Wire JSON is JSON in ASCII that contains neither ``{{`` nor ``$``, so
that neither Argo nor Kubernetes mistakes data for a template. A container without the launcher writes plain text. An expression
turns this text into wire JSON where the next task reads it.

How an artifact travels: its descriptor (name, type, URI and metadata) is wire JSON too. Its bytes are stored under a key of
Argo's artifact repository, and the URI contains this key.
"""
