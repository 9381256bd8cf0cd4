"""What the pipelines share: pin → code ‖ data tests → train → model tests → gate, and package → integration tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.code_tests import code_tests
from components.data_tests import data_tests
from components.gate import gate
from components.integration_tests import integration_tests
from components.model_tests import model_tests
from components.package import package
from components.pin_snapshot import pin_snapshot
from components.train import train

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask


@dataclass(frozen=True, slots=True)
class Challenger:
    """The tasks that made and judged a challenger."""

    code: PipelineTask
    data: PipelineTask
    train: PipelineTask
    tested: PipelineTask
    gate: PipelineTask


def make_challenger(snapshot: str) -> Challenger:
    """From the data to the gate's answer; layers 1 and 2 come before training, layer 3 after it."""
    pinned = pin_snapshot(location=snapshot)
    code = code_tests()
    data = data_tests(snapshot=pinned.outputs["snapshot"])
    trained = train(snapshot=pinned.outputs["snapshot"]).after(code, data)
    tested = model_tests(model=trained.outputs["model"])
    # The gate spends one use of the holdout's budget: never from a cache, never for a model that failed its tests.
    decided = gate(model=trained.outputs["model"]).after(tested).set_caching_options(enable_caching=False)
    return Challenger(code=code, data=data, train=trained, tested=tested, gate=decided)


def make_release(challenger: Challenger) -> tuple[PipelineTask, PipelineTask]:
    """Package the challenger and test the release as it will be served; gives both tasks."""
    packaged = package(
        model=challenger.train.outputs["model"],
        code_verdicts=challenger.code.outputs["verdicts"],
        data_verdicts=challenger.data.outputs["verdicts"],
        model_verdicts=challenger.tested.outputs["verdicts"],
        curves=challenger.tested.outputs["curves"],
        decision=challenger.gate.outputs["decision"],
        scores=challenger.gate.outputs["scores"],
    )
    integrated = integration_tests(release=packaged.outputs["Output"])
    return packaged, integrated
