"""The CI workflow runs only what exists here: make targets and sluice verbs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ml-cicd.yml").read_text())


def commands(job: str) -> list[list[str]]:
    return [shlex.split(step["run"]) for step in WORKFLOW["jobs"][job]["steps"] if "run" in step]


def test_four_layers_are_four_jobs_before_production() -> None:
    jobs = WORKFLOW["jobs"]
    assert list(jobs) == ["code-tests", "data-tests", "model-tests", "integration-tests", "deploy"]
    for layer in ("code", "data", "model", "integration"):
        assert [".venv/bin/sluice", "test", layer] in [command[:3] for command in commands(f"{layer}-tests")]
    assert jobs["deploy"]["needs"] == ["integration-tests"]
    assert jobs["deploy"]["environment"] == "production"


def test_it_is_triggered_by_code_week_and_drift() -> None:
    triggers = WORKFLOW[True]  # YAML 1.1 reads the key `on` as a boolean
    assert set(triggers) == {"push", "pull_request", "schedule", "repository_dispatch"}
    assert triggers["repository_dispatch"] == {"types": ["drift"]}
    assert re.fullmatch(r"\d+ \d+ \* \* \d", triggers["schedule"][0]["cron"])


def test_every_command_is_a_make_target_or_a_verb_with_these_options() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for job in WORKFLOW["jobs"]:
        for command in commands(job):
            if command[0] == "make":
                assert set(command[1:]) <= targets
                continue
            assert command[0] == ".venv/bin/sluice"
            verb = [word for word in command[1:3] if not word.startswith("-")][:1]
            shown = subprocess.run(
                [sys.executable, "-m", "sluice", *verb, "--help"], capture_output=True, text=True, check=True
            ).stdout
            for option in (word for word in command if word.startswith("-")):
                assert option in shown, f"{' '.join(verb)} has no {option}"
