"""Retraining on new data, on a schedule or when a person starts it. The steps to production are those of the release pipeline."""

from kfp import dsl

from components.pin_snapshot import pin_snapshot
from pipelines.stages import make_challenger, take_to_production


@dsl.pipeline(
    name="retrain",
    description="The release pipeline on the latest snapshot. Compile it with --kind CronWorkflow to schedule it.",
)
def retrain_pipeline(snapshot: str = "") -> None:
    """Run the pipeline on `snapshot`, a path or fsspec URL. If it is empty, data.snapshot of sluice.toml is used."""
    pinned = pin_snapshot(location=snapshot)
    take_to_production(make_challenger(pinned.outputs["snapshot"]))
