"""Tests with KFP's own compiled pipelines: each one lowers to a valid and consistent object, or is refused for a known reason."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from argo_models import check_model
from argo_pipelines import KINDS, executor_tasks
from argo_references import check_references, pods

from sluice.argo.compilation import Options
from sluice.argo.objects.workflows import lower_pipeline
from sluice.argo.objects.yaml_text import to_yaml
from sluice.ir.reading import read_ir

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.ir.lint import Finding

REFUSED = {
    "pipeline_with_condition_dynamic_task_output_custom_training_job.yaml": "pipeline_persistent_resource_id",
}
"""File → part of the reason for the refusal. The placeholder is one that only Vertex AI knows."""


def test_each_of_kfps_own_pipelines_lowers_to_a_valid_object_or_is_refused_for_the_expected_reason(kfp_file: Path) -> None:
    pipeline = read_ir(kfp_file)
    for kind in KINDS:
        document, refusals = lower_pipeline(pipeline, Options(kind=kind, schedules=("0 6 * * *",)))
        if kfp_file.name in REFUSED:
            check_refusals(refusals.found, REFUSED[kfp_file.name])
            continue
        assert refusals.found == []
        check_model(document)
        check_references(document)
        assert pods(document) == executor_tasks(pipeline)


def check_refusals(refusals: list[Finding], reason: str) -> None:
    assert refusals
    assert all(reason in refusal.reason and refusal.task and refusal.hint for refusal in refusals)


def test_the_folder_contains_all_of_kfps_own_pipelines(kfp_files: list[Path]) -> None:
    assert len(kfp_files) == 125
    assert set(REFUSED) <= {file.name for file in kfp_files}


def test_a_second_compilation_gives_the_same_bytes(kfp_file: Path) -> None:
    first, second = (to_yaml(lower_pipeline(read_ir(kfp_file), Options())[0]) for _ in range(2))
    assert first == second


PRINT = """
import sys
from pathlib import Path
from sluice.argo.compilation import Options
from sluice.argo.objects.workflows import lower_pipeline
from sluice.argo.objects.yaml_text import to_yaml
from sluice.ir.reading import read_ir
for name in sys.argv[1:]:
    print(to_yaml(lower_pipeline(read_ir(Path(name)), Options())[0]))
"""


def test_a_process_with_another_hash_seed_gives_the_same_bytes(kfp_files: list[Path]) -> None:
    found = {
        seed: subprocess.run(
            [sys.executable, "-c", PRINT, *map(str, kfp_files)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "4711")
    }
    assert len(found["1"]) > 100_000
    assert found["1"] == found["4711"]
