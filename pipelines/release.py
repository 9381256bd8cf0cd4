"""The main job: from a commit to production traffic."""

from kfp import dsl

from components.approval import approval
from components.canary import canary
from pipelines.stages import make_challenger, make_release


@dsl.pipeline(
    name="release",
    description="ci, then approval → canary: 5 → 25 → 100 % of live traffic, rolled back by itself",
)
def release_pipeline(snapshot: str = "") -> None:
    """`snapshot`: path or fsspec URL of the training data; empty for data.snapshot of sluice.toml."""
    challenger = make_challenger(snapshot)
    with dsl.If(challenger.gate.outputs["Output"] == True, name="promote"):  # noqa: E712 - builds a condition
        packaged, integrated = make_release(challenger)
        approved = approval(release=packaged.outputs["Output"]).after(integrated).set_caching_options(enable_caching=False)
        canary(release=packaged.outputs["Output"], approved_by=approved.outputs["Output"]).set_caching_options(
            enable_caching=False
        )
