"""Pin the data that drift is measured against."""

from kfp import dsl

from components import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def pin_reference(location: str, snapshot: dsl.Output[dsl.Dataset]) -> None:
    """Copy the reference from a path or fsspec URL. If `location` is empty, it is the data that the champion was trained on."""
    from pathlib import Path

    from sluice.steps.snapshots import pin_reference as pin

    snapshot.metadata.update(pin(location, Path(snapshot.path)))
