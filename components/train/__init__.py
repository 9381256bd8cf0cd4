"""Train the challenger on the pinned snapshot."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def train(
    snapshot: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    drift_reference: dsl.Output[dsl.Artifact],
    record: dsl.Output[dsl.Artifact],
) -> None:
    """Fit the project's model, store its digest in the metadata of the artifact, and freeze what drift is measured against."""
    from pathlib import Path

    from sluice.artifact_metadata import read_metadata
    from sluice.carried_records import keep_record
    from sluice.steps import training

    keep_record(record.path, record.metadata)
    model.metadata.update(
        training.train(snapshot.path, read_metadata(snapshot.metadata), Path(model.path), Path(drift_reference.path))
    )
