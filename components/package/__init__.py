"""Package code, data, model and environment as one release."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def package(
    model: dsl.Input[dsl.Model],
    code_verdicts: dsl.Input[dsl.Artifact],
    data_verdicts: dsl.Input[dsl.Artifact],
    model_verdicts: dsl.Input[dsl.Artifact],
    curves: dsl.Input[dsl.Artifact],
    decision: dsl.Input[dsl.Artifact],
    scores: dsl.Input[dsl.Artifact],
    golden_rows: dsl.Input[dsl.Artifact],
    drift_reference: dsl.Input[dsl.Artifact],
    record: dsl.Output[dsl.Artifact],
) -> str:
    """Make the model layer, add it to the release store, and return the digest of the release."""
    from sluice.artifact_metadata import read_metadata
    from sluice.carried_records import keep_record
    from sluice.steps import packaging

    keep_record(record.path, record.metadata)
    verdicts = [code_verdicts.path, data_verdicts.path, model_verdicts.path]
    judged = (curves.path, decision.path, scores.path, golden_rows.path)
    return packaging.package(model.path, read_metadata(model.metadata), verdicts, *judged, drift_reference.path)
