"""Pin the data that drift is measured against."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def pin_reference(location: str, snapshot: dsl.Output[dsl.Dataset], record: dsl.Output[dsl.Artifact]) -> None:
    """Copy the reference from a path or fsspec URL. If `location` is empty, it is the data that the champion was trained on."""
    from pathlib import Path

    from sluice.carried_records import keep_record
    from sluice.steps.snapshots import pin_reference as pin

    keep_record(record.path, record.metadata)
    snapshot.metadata.update(pin(location, Path(snapshot.path)))
