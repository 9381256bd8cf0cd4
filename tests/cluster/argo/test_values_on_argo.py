"""Test on a real Argo that values arrive unchanged, whatever they pass through, and that the settings of steps take effect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from expected_values import ARTIFACT_CASES, CONTROL_CASES, LOCAL_CASES, NUMBER_CASES, TEXT_CASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from argo_runs import Case, Run

RUN_LOCALLY = """
import json, sys
from kfp import local
sys.path.insert(0, sys.argv[1])
import local_pipelines
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[3], raise_on_error=True)
task = getattr(local_pipelines, sys.argv[2])()
print("\\nRESULT" + json.dumps({name: value for name, value in task.outputs.items()}))
"""


@pytest.mark.parametrize("case", TEXT_CASES, ids=str)
def test_a_text_arrives_unchanged(case: Case, run_case: Callable[[Case], Run]) -> None:
    case.verify(run_case(case))


@pytest.mark.parametrize("case", NUMBER_CASES, ids=str)
def test_a_number_keeps_its_type_and_its_last_digit(case: Case, run_case: Callable[[Case], Run]) -> None:
    case.verify(run_case(case))


@pytest.mark.parametrize("case", ARTIFACT_CASES, ids=str)
def test_an_artifact_arrives_with_its_content_and_metadata(case: Case, run_case: Callable[[Case], Run]) -> None:
    case.verify(run_case(case))


@pytest.mark.parametrize("case", CONTROL_CASES, ids=str)
def test_retries_limits_loops_and_failures_work_as_the_pipeline_says(case: Case, run_case: Callable[[Case], Run]) -> None:
    case.verify(run_case(case))


@pytest.mark.parametrize("case", LOCAL_CASES, ids=str)
def test_argo_and_kfp_local_give_the_same_outputs(case: Case, run_case: Callable[[Case], Run], tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", RUN_LOCALLY, str(Path(__file__).parent / "cases"), case.name, str(tmp_path / "root")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    locally = json.loads(found.stdout.rpartition("\nRESULT")[2])
    run = run_case(case)
    case.verify(run)
    assert run.outputs == locally
