"""The steps that the pipelines share.

They are: code tests and data tests at the same time → train → model tests → score → gate; package → integration tests; approval →
canary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kfp import dsl

from components.approval import approval
from components.canary import canary
from components.code_tests import code_tests
from components.data_tests import data_tests
from components.gate import gate
from components.integration_tests import integration_tests
from components.model_tests import model_tests
from components.package import package
from components.pin_snapshot import pin_snapshot
from components.score import score
from components.train import train

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask
    from kfp.dsl.pipeline_channel import PipelineArtifactChannel as OutputArtifactChannel


@dataclass(frozen=True, slots=True)
class Challenger:
    """The tasks that made a challenger and judged it.

    Attributes:
        code: The code tests.
        data: The data tests.
        train: The training.
        tested: The model tests.
        scored: The scoring of the gate rows, and the answers to the golden rows.
        gate: The gate.
    """

    code: PipelineTask
    data: PipelineTask
    train: PipelineTask
    tested: PipelineTask
    scored: PipelineTask
    gate: PipelineTask


def pin_newest(location: str, *, compare: bool = False) -> PipelineTask:
    """Add the step that pins the newest snapshot. With `compare`, its output says whether there is anything new to train.

    It never comes from a cache, because the same settings name another snapshot tomorrow, and another release is champion. So its
    artifact is a new one in each run. The engines' keys contain an artifact by its URI and metadata (Argo) or its id (KFP), so no
    later step gets what was made for another champion.
    """
    return pin_snapshot(location=location, compare=compare).set_caching_options(enable_caching=False)


def make_challenger(snapshot: OutputArtifactChannel) -> Challenger:
    """Add the steps from the pinned snapshot to the gate. Code and data are tested before training, the model after it."""
    code = code_tests()
    data = data_tests(snapshot=snapshot)
    trained = train(snapshot=snapshot).after(code, data)
    tested = model_tests(model=trained.outputs["model"])
    # A question to the gate uses up a part of the holdout's budget. Therefore the answer never comes from a cache, and
    # there is no question about a model that failed its tests. Scoring loads the model, which runs code from the model's file.
    # So it is a step of its own: the gate's pod, which may write the ledger, gets the scores and loads no model. Packaging, which
    # may have a key and the rights to push, gets the golden rows.
    scored = score(model=trained.outputs["model"]).after(tested).set_caching_options(enable_caching=False)
    decided = gate(model=trained.outputs["model"], scores=scored.outputs["scores"])
    decided.set_caching_options(enable_caching=False)
    return Challenger(code=code, data=data, train=trained, tested=tested, scored=scored, gate=decided)


def make_release(challenger: Challenger) -> tuple[PipelineTask, PipelineTask]:
    """Add the steps that package the challenger and test the release as it will be served. Return both tasks."""
    packaged = package(
        model=challenger.train.outputs["model"],
        code_verdicts=challenger.code.outputs["verdicts"],
        data_verdicts=challenger.data.outputs["verdicts"],
        model_verdicts=challenger.tested.outputs["verdicts"],
        curves=challenger.tested.outputs["curves"],
        decision=challenger.gate.outputs["decision"],
        scores=challenger.scored.outputs["scores"],
        golden_rows=challenger.scored.outputs["golden_rows"],
        drift_reference=challenger.train.outputs["drift_reference"],
    )
    integrated = integration_tests(release=packaged.outputs["Output"])
    return packaged, integrated


def take_to_production(challenger: Challenger) -> None:
    """Add release, approval and canary, which run only if the gate promotes the challenger."""
    with dsl.If(challenger.gate.outputs["Output"] == True, name="promote"):  # noqa: E712 - builds a condition
        packaged, integrated = make_release(challenger)
        approved = approval(release=packaged.outputs["Output"]).after(integrated).set_caching_options(enable_caching=False)
        canary(release=packaged.outputs["Output"], approved_by=approved.outputs["Output"]).set_caching_options(
            enable_caching=False
        )
