"""Retraining on new data, on a schedule, after an event, or when a person starts it.

If the champion was made from the same snapshot and the same code, nothing is trained. Otherwise the steps are those of the
release pipeline.
"""

from kfp import dsl

from pipelines.stages import make_challenger, pin_newest, take_to_production


@dsl.pipeline(
    name="retrain",
    description="The release pipeline on the newest snapshot, if the snapshot or the code is new since the champion was trained.",
)
def retrain_pipeline(snapshot: str = "") -> None:
    """Run the pipeline on `snapshot`, a path, fsspec URL or pattern. If it is empty, sluice.toml names the snapshot."""
    pinned = pin_newest(snapshot, compare=True)
    with dsl.If(pinned.outputs["Output"] == True, name="new"):  # noqa: E712 - builds a condition
        take_to_production(make_challenger(pinned.outputs["snapshot"]))
