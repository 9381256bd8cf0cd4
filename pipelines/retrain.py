"""Retraining on new data, on a schedule or when a person starts it. The steps to production are those of the release pipeline."""

from kfp import dsl

from components.pin_snapshot import pin_snapshot
from pipelines.stages import make_challenger, take_to_production


@dsl.pipeline(name="retrain", description="release, on the latest snapshot: schedule it with --kind CronWorkflow")
def retrain_pipeline(snapshot: str = "") -> None:
    """`snapshot`: path or fsspec URL of the training data; empty for data.snapshot of sluice.toml."""
    pinned = pin_snapshot(location=snapshot)
    take_to_production(make_challenger(pinned.outputs["snapshot"]))
