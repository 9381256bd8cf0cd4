"""The CI workflow uses only make targets and commands of sluice that exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ml-cicd.yml").read_text())


def commands(job: str) -> list[list[str]]:
    return [shlex.split(step["run"]) for step in WORKFLOW["jobs"][job]["steps"] if "run" in step and step.get("id") != "reviewer"]


def review(by: str, state: str, *, environment: str = "production") -> dict[str, Any]:
    return {"state": state, "user": {"login": by}, "environments": [{"name": environment}]}


def test_the_four_layers_are_four_jobs_before_production() -> None:
    jobs = WORKFLOW["jobs"]
    assert list(jobs) == ["code-tests", "data-tests", "model-tests", "integration-tests", "deploy"]
    for layer in ("code", "data", "model", "integration"):
        assert [".venv/bin/sluice", "test", layer] in [command[:3] for command in commands(f"{layer}-tests")]
    assert jobs["deploy"]["needs"] == ["integration-tests"]
    assert jobs["deploy"]["environment"] == "production"


def test_the_workflow_is_triggered_by_commits_weekly_and_by_drift() -> None:
    triggers = WORKFLOW[True]  # YAML 1.1 reads the key `on` as a boolean
    assert set(triggers) == {"push", "pull_request", "schedule", "repository_dispatch"}
    assert triggers["repository_dispatch"] == {"types": ["drift"]}
    assert re.fullmatch(r"\d+ \d+ \* \* \d", triggers["schedule"][0]["cron"])


@pytest.mark.skipif(shutil.which("jq") is None, reason="the stand-in for gh filters with jq")
@pytest.mark.parametrize(
    ("answer", "approver"),
    [
        ([review("ann", "rejected"), review("bea", "approved")], "bea"),
        ([review("bea", "approved", environment="staging")], "pusher"),
        ([], "pusher"),
        (None, "pusher"),
    ],
)
def test_the_release_is_approved_in_the_name_of_the_environments_reviewer(
    tmp_path: Path, answer: list[dict[str, Any]] | None, approver: str
) -> None:
    steps = WORKFLOW["jobs"]["deploy"]["steps"]
    script = next(step["run"] for step in steps if step.get("id") == "reviewer")
    assert WORKFLOW["jobs"]["deploy"]["permissions"]["actions"] == "read"
    fake = tmp_path / "gh"
    # A stand-in for `gh api PATH --jq FILTER` without the network. Without an answer, the API refuses.
    asked = f"cat <<'END' | jq -r \"$4\"\n{json.dumps(answer)}\nEND" if answer is not None else "exit 1"
    fake.write_text(f'#!/bin/sh\n[ "$2" = repos/o/r/actions/runs/7/approvals ] && [ "$3" = --jq ] || exit 9\n{asked}\n')
    fake.chmod(0o755)
    output = tmp_path / "output"
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_RUN_ID": "7",
        "GITHUB_ACTOR": "pusher",
        "GITHUB_OUTPUT": str(output),
    }
    subprocess.run(["bash", "-e", "-c", script], env=environment, check=True)
    assert output.read_text() == f"name={approver}\n"
    deploy = next(step for step in steps if "sluice run release" in step.get("run", ""))
    assert deploy["env"] == {"APPROVED_BY": "${{ steps.reviewer.outputs.name }}"}
    assert '--approve "$APPROVED_BY"' in deploy["run"]


def test_every_workflow_command_is_a_make_target_or_a_command_of_sluice_with_these_options() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for job in WORKFLOW["jobs"]:
        for command in commands(job):
            if command[0] == "make":
                assert set(command[1:]) <= targets
                continue
            assert command[0] == ".venv/bin/sluice"
            name = [word for word in command[1:3] if not word.startswith("-")][:1]
            shown = subprocess.run(
                [sys.executable, "-m", "sluice", *name, "--help"], capture_output=True, text=True, check=True
            ).stdout
            for option in (word for word in command if word.startswith("-")):
                assert option in shown, f"{' '.join(name)} has no {option}"
