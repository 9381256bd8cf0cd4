"""The main pipeline: from a commit to production traffic."""

from kfp import dsl

from components.pin_snapshot import pin_snapshot
from pipelines.stages import make_challenger, take_to_production


@dsl.pipeline(
    name="release",
    description="The steps of ci, then approval → canary: 5 → 25 → 100 % of the traffic, or a rollback.",
)
def release_pipeline(snapshot: str = "") -> None:
    """Run the pipeline on `snapshot`, a path or fsspec URL. If it is empty, data.snapshot of sluice.toml is used."""
    pinned = pin_snapshot(location=snapshot)
    take_to_production(make_challenger(pinned.outputs["snapshot"]))
