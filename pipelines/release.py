"""The main pipeline: from a commit to production traffic."""

from kfp import dsl

from pipelines.stages import make_challenger, pin_newest, take_to_production


@dsl.pipeline(
    name="release",
    description="The steps of ci, then approval → canary: 5 → 25 → 100 % of the traffic, or a rollback.",
)
def release_pipeline(snapshot: str = "") -> None:
    """Run the pipeline on `snapshot`, a path, fsspec URL or pattern. If it is empty, sluice.toml names the snapshot."""
    pinned = pin_newest(snapshot)
    take_to_production(make_challenger(pinned.outputs["snapshot"]))
