"""Ask the challenger and the champion for what the gate and packaging need of them."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def score(
    model: dsl.Input[dsl.Model],
    scores: dsl.Output[dsl.Artifact],
    golden_rows: dsl.Output[dsl.Artifact],
    record: dsl.Output[dsl.Artifact],
) -> None:
    """Write the scores of the gate rows for the gate, and the golden rows for packaging. Neither of their pods loads a model."""
    from sluice.artifact_metadata import read_metadata
    from sluice.carried_records import keep_record
    from sluice.steps.scoring import score_gate_rows

    keep_record(record.path, record.metadata)
    score_gate_rows(model.path, read_metadata(model.metadata), scores.path, golden_rows.path)
