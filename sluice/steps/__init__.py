"""The code of the pipeline steps. Each component of a project imports one function from here and calls it.

What belongs here: reading the inputs of a step, calling `sluice.checks`, `sluice.gate`, `sluice.release` or `sluice.rollout`, and
writing the step's outputs and records. What does not belong here: KFP (only `components/` and `pipelines/` use it), decisions
(they are pure and belong to the packages named above), and printing.
"""
