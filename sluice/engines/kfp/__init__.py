"""The engine for Kubeflow Pipelines. It talks to the KFP API with ``kfp.Client``.

What belongs here: uploading pipelines, starting and reading runs, recurring runs. What does not belong here: compiling to IR
(`sluice.engines.ir_compilation`).
"""
