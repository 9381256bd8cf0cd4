"""The main pipeline: from a commit to production traffic."""

from kfp import dsl

from components.pin_snapshot import pin_snapshot
from pipelines.stages import make_challenger, take_to_production


@dsl.pipeline(
    name="release",
    description="ci, then approval → canary: 5 → 25 → 100 % of live traffic, rolled back by itself",
)
def release_pipeline(snapshot: str = "") -> None:
    """`snapshot`: path or fsspec URL of the training data; empty for data.snapshot of sluice.toml."""
    pinned = pin_snapshot(location=snapshot)
    take_to_production(make_challenger(pinned.outputs["snapshot"]))
