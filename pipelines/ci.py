"""The pipeline for a pull request: all steps up to a tested release, and none that concerns production."""

from kfp import dsl

from pipelines.stages import make_challenger, make_release, pin_newest


@dsl.pipeline(
    name="ci",
    description="Pin snapshot → code tests ‖ data tests → train → model tests → score → gate → package → integration tests.",
)
def ci_pipeline(snapshot: str = "") -> None:
    """Run the pipeline on `snapshot`, a path, fsspec URL or pattern. If it is empty, sluice.toml names the snapshot."""
    pinned = pin_newest(snapshot)
    challenger = make_challenger(pinned.outputs["snapshot"])
    with dsl.If(challenger.gate.outputs["Output"] == True, name="promote"):  # noqa: E712 - builds a condition
        make_release(challenger)
