"""Each fault is found by the check that is meant for it, and by no stage before."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from fault_table import FAULTS, Fault, train_on_copies
from pipeline_under_test import ROOT, STAGES, World, run_pipeline

from sluice.checks.layers import LayerInputs, run_layer

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow


def test_there_are_at_least_24_faults_in_different_stages() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 24
    assert {fault.stage for fault in FAULTS} <= set(STAGES)


def test_the_healthy_project_passes_every_check(open_copy: Callable[[], World]) -> None:
    world = open_copy()
    assert run_pipeline(world) is None
    assert not world.warnings


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_check_that_is_meant_for_a_fault_finds_it(fault: Fault, open_copy: Callable[[], World]) -> None:
    world = open_copy()
    fault.plant(world)
    refusal = run_pipeline(world)
    assert refusal is not None, "no check found the fault"
    assert refusal.stage == fault.stage, refusal
    assert fault.check in refusal.checks, refusal
    assert fault.message in refusal.message, refusal


@pytest.mark.parametrize("copied", [1, 5])
def test_a_few_copies_of_holdout_rows_are_a_warning(copied: int, open_copy: Callable[[], World]) -> None:
    """They may also be rows that were recorded twice before the split, so they are no reason to refuse."""
    world = open_copy()
    train_on_copies(copied)(world)
    assert run_pipeline(world) is None
    assert [warning["kind"] for warning in world.warnings] == ["repeated-rows"]
    assert f"{copied} of 10,000 holdout rows ha" in world.warnings[0]["text"]


@pytest.mark.parametrize(("layer", "name"), [("data", "unit change"), ("model", "wrong scaler")])
def test_a_suite_gives_the_same_verdicts_in_a_process_of_its_own(layer: str, name: str, open_copy: Callable[[], World]) -> None:
    """The other tests call the functions of layers 2 and 3 directly. A pipeline runs them with pytest, in their own process."""
    world = open_copy()
    shutil.copytree(ROOT / "tests" / layer, world.root / "tests" / layer, ignore=shutil.ignore_patterns("__pycache__"))
    next(fault for fault in FAULTS if fault.name == name).plant(world)
    refusal = run_pipeline(world)
    given = {"data": LayerInputs(snapshot=world.snapshot), "model": LayerInputs(model=world.root / "run" / "model.joblib")}
    result = run_layer(world.project, layer, given[layer], world.root / "results")
    assert refusal is not None
    assert {verdict.check for verdict in result.verdicts if verdict.blocks} == refusal.checks
