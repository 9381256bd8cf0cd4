"""Retraining after drift. If no feature has drifted, nothing is trained, and the gate is not asked.

If the champion was made from the same snapshot and the same code, nothing is compared either.
"""

from kfp import dsl

from components.drift import drift
from components.pin_reference import pin_reference
from pipelines.stages import make_challenger, pin_newest, take_to_production


@dsl.pipeline(
    name="drift",
    description="Compare the snapshot with the champion's training data. If a feature has drifted, run the release pipeline.",
)
def drift_pipeline(snapshot: str = "", reference: str = "") -> None:
    """Compare `snapshot` with `reference`. Both are paths or URLs.

    If `snapshot` is empty, sluice.toml names the snapshot. If `reference` is empty, it is the champion's training data.
    """
    before = pin_reference(location=reference).set_caching_options(enable_caching=False)
    now = pin_newest(snapshot, compare=True).after(before)
    with dsl.If(now.outputs["Output"] == True, name="new"):  # noqa: E712 - builds a condition
        moved = drift(reference=before.outputs["snapshot"], current=now.outputs["snapshot"])
        moved.set_caching_options(enable_caching=False)
        with dsl.If(moved.outputs["Output"] == True, name="drifted"):  # noqa: E712 - builds a condition
            take_to_production(make_challenger(now.outputs["snapshot"]))
