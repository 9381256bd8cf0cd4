"""The pipeline for a pull request: all steps up to a tested release, and none that concerns production."""

from kfp import dsl

from components.pin_snapshot import pin_snapshot
from pipelines.stages import make_challenger, make_release


@dsl.pipeline(
    name="ci",
    description="Pin snapshot → code tests ‖ data tests → train → model tests → gate → package → integration tests.",
)
def ci_pipeline(snapshot: str = "") -> None:
    """Run the pipeline on `snapshot`, a path or fsspec URL. If it is empty, data.snapshot of sluice.toml is used."""
    pinned = pin_snapshot(location=snapshot)
    challenger = make_challenger(pinned.outputs["snapshot"])
    with dsl.If(challenger.gate.outputs["Output"] == True, name="promote"):  # noqa: E712 - builds a condition
        make_release(challenger)
