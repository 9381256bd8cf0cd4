"""Retraining after drift. If no feature has drifted, nothing is trained, and the gate is not asked."""

from kfp import dsl

from components.drift import drift
from components.pin_snapshot import pin_snapshot
from pipelines.stages import make_challenger, take_to_production


@dsl.pipeline(name="drift", description="compare snapshot with reference; where a feature has drifted: release on it")
def drift_pipeline(snapshot: str = "", reference: str = "") -> None:
    """`snapshot`: the data of now; `reference`: that of training. Paths or URLs; empty for data.snapshot of sluice.toml."""
    before = pin_snapshot(location=reference)
    now = pin_snapshot(location=snapshot).after(before)
    moved = drift(reference=before.outputs["snapshot"], current=now.outputs["snapshot"]).set_caching_options(enable_caching=False)
    with dsl.If(moved.outputs["Output"] == True, name="drifted"):  # noqa: E712 - builds a condition
        take_to_production(make_challenger(now.outputs["snapshot"]))
