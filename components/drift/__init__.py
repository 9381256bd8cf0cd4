"""Measure whether the feature distributions have changed since training."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def drift(
    reference: dsl.Input[dsl.Dataset],
    current: dsl.Input[dsl.Dataset],
    report: dsl.Output[dsl.Artifact],
    record: dsl.Output[dsl.Artifact],
) -> bool:
    """Compare the features of two pinned snapshots, and return whether one has drifted."""
    from sluice.artifact_metadata import read_metadata
    from sluice.carried_records import keep_record
    from sluice.steps.drift import measure_drift

    keep_record(record.path, record.metadata)
    result = measure_drift(
        (reference.path, read_metadata(reference.metadata)), (current.path, read_metadata(current.metadata)), report.path
    )
    return bool(result.drifted)
