"""The bodies of a pipeline's steps: what each component of a project imports and calls.

Belongs here: reading a step's inputs, calling `checks`, `gate`, `release` or `rollout`, writing its outputs and its records.
Does not belong here: KFP (a component's folder has that), decisions (they are pure and lie in the packages above), printing.
"""
