"""Pin the data: copy the snapshot and name the copy by its digest."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def pin_snapshot(location: str, snapshot: dsl.Output[dsl.Dataset]) -> None:
    """Copy the snapshot from a path or fsspec URL. If `location` is empty, data.snapshot of sluice.toml is used."""
    from pathlib import Path

    from sluice.steps.snapshots import pin

    snapshot.metadata.update(pin(location, Path(snapshot.path)))
