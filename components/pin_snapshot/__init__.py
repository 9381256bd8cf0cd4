"""Pin the data: copy the snapshot and name the copy by its digest."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def pin_snapshot(location: str, snapshot: dsl.Output[dsl.Dataset]) -> None:
    """Copy the snapshot's bytes; `location` is a path or fsspec URL, empty for data.snapshot of sluice.toml."""
    from pathlib import Path

    from sluice.steps.snapshots import pin

    snapshot.metadata.update(pin(location, Path(snapshot.path)))
