"""Pin the data: copy the newest snapshot and name the copy by its digest."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def pin_snapshot(
    location: str, snapshot: dsl.Output[dsl.Dataset], record: dsl.Output[dsl.Artifact], *, compare: bool = False
) -> bool:
    """Copy the snapshot from a path or fsspec URL, and return whether there is anything to train.

    If `location` is empty, sluice.toml names the snapshot. Only with `compare`, the answer may be no: the champion was made from
    this snapshot and this code.
    """
    from pathlib import Path

    from sluice.carried_records import keep_record
    from sluice.steps.snapshots import pin

    keep_record(record.path, record.metadata)
    found = pin(location, Path(snapshot.path), compare=compare)
    snapshot.metadata.update(found)
    return bool(found["new"])
