"""Run KFP's own compiled pipelines on a real Argo. Each step must give the outputs that the pipeline's source says."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest
from expected_critical import CRITICAL, FAILING
from expected_essential import ESSENTIAL, PARALLEL
from expected_others import NOT_RUN, OTHERS
from pipelines_of_cases import CONFORMANCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from argo_runs import Case, Run

CASES = [*CRITICAL, *FAILING, *ESSENTIAL, *PARALLEL, *OTHERS]

needs_conformance_files = pytest.mark.skipif(
    not CONFORMANCE.is_dir(), reason="$SLUICE_CONFORMANCE names no folder with KFP's pipelines"
)


@needs_conformance_files
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_pipeline_of_kfp_gives_the_outputs_that_its_source_says(case: Case, run_case: Callable[[Case], Run]) -> None:
    case.verify(run_case(case))


@needs_conformance_files
def test_every_file_is_run_or_has_a_reason_for_not_being_run() -> None:
    files = {str(file.relative_to(CONFORMANCE)) for file in CONFORMANCE.rglob("*.yaml")}
    run = {case.name for case in CASES}
    assert run.isdisjoint(NOT_RUN)
    assert files == run | NOT_RUN.keys()


def test_the_documentation_names_every_file_and_each_reason() -> None:
    text = (Path(__file__).parents[3] / "docs" / "compatibility.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` | {reason} |" in text for name, reason in NOT_RUN.items())
    assert all(f"`{PurePath(case.name).stem}`" in text for case in CASES)
