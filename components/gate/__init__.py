"""Ask the gate whether the challenger replaces the champion."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def gate(
    model: dsl.Input[dsl.Model],
    scores: dsl.Input[dsl.Artifact],
    decision: dsl.Output[dsl.Artifact],
    record: dsl.Output[dsl.Artifact],
) -> bool:
    """Return True to promote the challenger, or False to keep the champion. The step succeeds in both cases."""
    from sluice.artifact_metadata import read_metadata
    from sluice.carried_records import keep_record
    from sluice.steps.gating import ask_gate

    keep_record(record.path, record.metadata)
    return ask_gate(model.path, read_metadata(model.metadata), scores.path, decision.path)
