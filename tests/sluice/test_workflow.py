"""The CI workflow: the order of its jobs, what each may do, and that every command in it exists."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sluice.cli import app

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ml-cicd.yml").read_text())
JOBS: dict[str, Any] = WORKFLOW["jobs"]
FILES = sorted((ROOT / ".github").rglob("*.yml"))


def find_commands(job: str) -> list[list[str]]:
    """Return the commands of make and of sluice in a job, each as its words."""
    lines = [line for step in JOBS[job]["steps"] for line in str(step.get("run", "")).splitlines()]
    found = [re.search(r"(?:make|\.venv/bin/sluice) [^;|&>]*", line) for line in lines]
    return [shlex.split(match[0]) for match in found if match]


def review(by: str, state: str, *, environment: str = "production") -> dict[str, Any]:
    return {"state": state, "user": {"login": by}, "environments": [{"name": environment}]}


def test_the_four_layers_are_four_jobs_and_the_gate_decides_before_anything_is_packaged() -> None:
    assert list(JOBS) == [
        "lint", "code-tests", "data-tests", "model-tests", "gate", "integration-tests", "preview", "approve", "rollout"
    ]  # fmt: skip
    for layer in ("code", "data", "model", "integration"):
        assert [".venv/bin/sluice", "test", layer] in [command[:3] for command in find_commands(f"{layer}-tests")]
    needs = {name: job.get("needs", []) for name, job in JOBS.items()}
    assert needs["model-tests"] == ["code-tests", "data-tests"]
    assert needs["gate"] == ["model-tests"]
    assert needs["integration-tests"] == ["model-tests", "gate"]
    assert needs["approve"] == ["gate", "integration-tests"]
    assert needs["rollout"] == ["gate", "approve"]


def test_only_one_job_asks_the_gate_and_packages_and_all_later_jobs_use_its_release() -> None:
    assert [name for name in JOBS if [".venv/bin/sluice", "gate", "ask"] in [one[:3] for one in find_commands(name)]] == ["gate"]
    building = [".venv/bin/sluice", "release", "build"]
    assert [name for name in JOBS if building in [one[:3] for one in find_commands(name)]] == ["gate"]
    for name in ("integration-tests", "approve", "rollout"):
        assert JOBS[name]["env"]["RELEASE"] == "${{ needs.gate.outputs.release }}"
    assert not [one for name in JOBS for one in find_commands(name) if one[1:2] == ["run"]]  # a run would train again


def test_a_pull_request_asks_nothing_of_the_gate_and_has_no_account() -> None:
    assert "github.event_name != 'pull_request'" in JOBS["gate"]["if"]
    for name in ("lint", "code-tests", "data-tests", "model-tests", "preview"):
        assert "secrets." not in yaml.safe_dump(JOBS[name])
    assert [".venv/bin/sluice", "gate", "preview"] in find_commands("preview")


def test_each_role_has_an_environment_with_an_account_of_its_own() -> None:
    assert {name: job["environment"] for name, job in JOBS.items() if "environment" in job} == {
        "gate": "gate",
        "approve": "production",
        "rollout": "rollout",
    }


def test_the_workflow_is_triggered_by_commits_weekly_and_by_drift() -> None:
    triggers = WORKFLOW[True]  # YAML 1.1 reads the key `on` as a boolean
    assert set(triggers) == {"push", "pull_request", "schedule", "repository_dispatch"}
    assert triggers["repository_dispatch"] == {"types": ["drift"]}
    assert re.fullmatch(r"\d+ \d+ \* \* \d", triggers["schedule"][0]["cron"])
    assert "client_payload" not in (ROOT / ".github/workflows/ml-cicd.yml").read_text()  # an event names no data


def test_a_job_has_no_right_that_it_does_not_need_and_every_action_is_pinned() -> None:
    assert WORKFLOW["permissions"] == {}
    rights = {name: set(job["permissions"].items()) - {("contents", "read")} for name, job in JOBS.items()}
    assert {name: found for name, found in rights.items() if found} == {
        "preview": {("pull-requests", "write")},
        "approve": {("actions", "read")},
    }
    used = [match for file in FILES for match in re.findall(r"uses: (\S+)(.*)", file.read_text())]
    assert used
    for action, comment in used:
        assert action.startswith("./.github/actions/") or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert action.startswith("./") or re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


@pytest.mark.skipif(shutil.which("jq") is None, reason="the stand-in for gh filters with jq")
@pytest.mark.parametrize(
    ("answer", "approver"),
    [
        ([review("ann", "rejected"), review("bea", "approved")], "bea"),
        ([review("bea", "approved", environment="staging")], None),
        ([], None),
        (None, None),
    ],
)
def test_the_release_is_approved_in_the_name_of_the_environments_reviewer_or_not_at_all(
    tmp_path: Path, answer: list[dict[str, Any]] | None, approver: str | None
) -> None:
    steps = JOBS["approve"]["steps"]
    script = next(step["run"] for step in steps if step.get("id") == "reviewer")
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
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], env=environment, check=False)
    assert (done.returncode == 0) == (approver is not None)
    assert not output.exists() if approver is None else output.read_text() == f"name={approver}\n"
    approve = next(step for step in steps if "rollout approve" in step.get("run", ""))
    assert approve["env"] == {"REVIEWER": "${{ steps.reviewer.outputs.name }}"}
    assert 'rollout approve "$RELEASE" --by "$REVIEWER"' in approve["run"]


def find_script(job: str, step: str) -> str:
    return str(next(one["run"] for one in JOBS[job]["steps"] if one.get("id") == step))


@pytest.mark.skipif(shutil.which("jq") is None, reason="the steps read the answers with jq")
@pytest.mark.parametrize(
    ("step", "answer", "code", "output"),
    [
        ("ask", {"outcome": "promote"}, 0, "outcome=promote\n"),
        ("ask", {"outcome": "kept"}, 0, "outcome=kept\n"),
        ("ask", {"outcome": "error"}, 4, ""),
        ("ask", {"outcome": "error"}, 5, ""),
        ("ask", {}, 0, ""),
        ("package", {"data": {"digest": "sha256:1"}}, 0, "release=sha256:1\n"),
        ("package", {"outcome": "error"}, 5, ""),
        ("package", {"data": {}}, 0, ""),
    ],
)
def test_a_step_of_the_gates_job_fails_if_its_command_fails_or_answers_nothing(
    tmp_path: Path, step: str, answer: dict[str, Any], code: int, output: str
) -> None:
    command = tmp_path / ".venv/bin/sluice"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\nexit {code}\n")
    command.chmod(0o755)
    shell = WORKFLOW.get("defaults", {}).get("run", {}).get("shell")
    options = ["-eo", "pipefail"] if shell == "bash" else ["-e"]  # as GitHub documents its shells
    written = tmp_path / "output"
    written.touch()
    environment = {"PATH": os.environ["PATH"], "GITHUB_OUTPUT": str(written)}
    done = subprocess.run(
        ["bash", *options, "-c", find_script("gate", step)], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert (done.returncode == 0, written.read_text()) == (bool(output), output)


@pytest.mark.skipif(shutil.which("jq") is None, reason="the steps read the answers with jq")
@pytest.mark.parametrize(
    ("step", "secret", "variable"),
    [("ask", "GATE_KEY", "SLUICE_GATE_KEY"), ("package", "SIGNING_KEY", "SLUICE_SIGNING_KEY")],
)
@pytest.mark.parametrize("key", ["-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----", ""])
def test_a_private_key_is_a_file_only_while_the_command_that_signs_with_it_runs(
    tmp_path: Path, step: str, secret: str, variable: str, key: str
) -> None:
    (described,) = (one for one in JOBS["gate"]["steps"] if one.get("id") == step)
    assert described["env"] == {secret: f"${{{{ secrets.{variable} }}}}"}
    command = tmp_path / ".venv/bin/sluice"
    command.parent.mkdir(parents=True)
    seen = f'[ -z "${variable}" ] || {{ cat "${variable}" > seen; stat -c %a "${variable}" > rights; }}'
    answer = json.dumps({"outcome": "promote", "data": {"digest": "sha256:1"}})
    command.write_text(f"#!/bin/sh\nenv > environment\n{seen}\necho '{answer}'\n")
    command.chmod(0o755)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {"PATH": os.environ["PATH"], "GITHUB_OUTPUT": str(tmp_path / "output"), secret: key, "TMPDIR": str(temporary)}
    subprocess.run(["bash", "-eo", "pipefail", "-c", described["run"]], cwd=tmp_path, env=environment, check=True)
    if key:
        assert (tmp_path / "seen").read_text() == f"{key}\n"
        assert (tmp_path / "rights").read_text() == "600\n"
    else:
        assert not (tmp_path / "seen").exists()
    assert "PRIVATE KEY" not in (tmp_path / "environment").read_text()
    assert list(temporary.iterdir()) == []


def test_no_other_job_gets_a_private_key() -> None:
    for name, job in JOBS.items():
        text = yaml.safe_dump(job)
        assert (name == "gate") == ("SLUICE_GATE_KEY" in text) == ("SLUICE_SIGNING_KEY" in text)


def test_a_release_is_packaged_only_after_an_answer_that_lets_the_model_pass() -> None:
    (step,) = (one for one in JOBS["gate"]["steps"] if one.get("id") == "package")
    assert step["if"] == "steps.ask.outputs.outcome == 'promote' || steps.ask.outputs.outcome == 'overridden'"


def test_every_workflow_command_is_a_make_target_or_a_command_of_sluice_with_these_options() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in {tuple(command) for job in JOBS for command in find_commands(job)}:
        if command[0] == "make":
            assert set(command[1:]) <= targets
            continue
        names = [word for word in command[1:3] if re.fullmatch(r"[a-z]+", word)]
        groups = {"gate", "release", "rollout"}
        names = names if names[0] in groups else names[:1]
        shown = CliRunner().invoke(app, [*names, "--help"], env={"COLUMNS": "200"}, catch_exceptions=False).stdout
        for option in (word for word in command if word.startswith("-")):
            assert option in shown, f"{' '.join(names)} has no {option}"
