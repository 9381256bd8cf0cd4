"""The pipeline for GitLab has the jobs of the workflow for GitHub, and uses only commands that exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sluice.cli import app

ROOT = Path(__file__).resolve().parents[2]
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
JOBS = {name: job for name, job in PIPELINE.items() if isinstance(job, dict) and "script" in job}


def find_commands(job: str) -> list[list[str]]:
    """Return the commands of sluice in a job, each as its words."""
    lines = [line for entry in JOBS[job]["script"] for line in entry.splitlines()]
    return [shlex.split(match[0]) for line in lines if (match := re.search(r"\.venv/bin/sluice [^;|&>]*", line))]


def find_parents(job: str) -> list[str]:
    extended = JOBS[job].get("extends", [])
    return [extended] if isinstance(extended, str) else list(extended)


def test_the_jobs_come_in_the_order_in_which_one_release_is_made_tested_approved_and_rolled_out() -> None:
    needs = {name: job.get("needs", []) for name, job in JOBS.items()}
    assert needs["model-tests"] == ["code-tests", "data-tests"]
    assert needs["gate"] == ["code-tests", "data-tests", "model-tests"]
    assert needs["integration-tests"] == ["gate"]
    assert needs["approve"] == ["gate", "integration-tests"]
    assert needs["rollout"] == ["gate", "approve"]
    assert all(job["stage"] in PIPELINE["stages"] for job in JOBS.values())


def test_only_the_default_branch_asks_the_gate_and_only_a_person_approves() -> None:
    in_cluster = [name for name in JOBS if ".in-cluster" in find_parents(name)]
    assert in_cluster == ["gate", "approve", "rollout"], "only jobs with an environment have an account in the cluster"
    assert all("environment" in JOBS[name] for name in in_cluster)
    assert PIPELINE[".in-cluster"]["extends"] == ".default-branch"
    assert ".default-branch" in find_parents("integration-tests")
    assert "SLUICE_ROLLOUT__SPLITTER" not in PIPELINE["variables"]
    assert [name for name in JOBS if ["gate", "ask"] in [one[1:3] for one in find_commands(name)]] == ["gate"]
    assert [name for name in JOBS if ["release", "build"] in [one[1:3] for one in find_commands(name)]] == ["gate"]
    (rule,) = JOBS["approve"]["rules"]
    assert (rule["when"], JOBS["approve"]["environment"]) == ("manual", "production")
    (command,) = find_commands("approve")
    assert command[1:] == ["rollout", "approve", "$RELEASE", "--by", "$GITLAB_USER_LOGIN", "--note", "$CI_JOB_URL"]


STUB = """#!/bin/sh
echo "$*" >> calls
case "$*" in
  "gate ask"*) echo '{{"outcome": "{outcome}"}}'; exit {asked};;
  "release build"*) echo '{built}'; exit {packaged};;
  report*) echo "all verdicts" > layers.md;;
  drift*) echo "no drift"; exit 4;;
esac
"""


def put_stub(folder: Path, script: str) -> None:
    """Put a stand-in for `sluice` into the environment of a clone."""
    programs = folder / ".venv/bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    (programs / "sluice").write_text(script)
    (programs / "sluice").chmod(0o755)


def play(job: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a job. GitLab's runner joins its commands, and runs them with these options."""
    command = ["bash", "-eo", "pipefail", "-c", "\n".join(JOBS[job]["script"])]
    environment = {"PATH": os.environ["PATH"]} | variables
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("outcome", "asked", "built", "packaged", "release"),
    [
        ("promote", 0, {"data": {"digest": "sha256:1"}}, 0, "RELEASE=sha256:1\n"),
        ("overridden", 0, {"data": {"digest": "sha256:1"}}, 0, "RELEASE=sha256:1\n"),
        ("kept", 0, {}, 0, ""),
        ("error", 0, {}, 0, ""),
        ("error", 4, {}, 0, None),
        ("promote", 0, {"outcome": "error"}, 5, None),
        ("promote", 0, {"data": {}}, 0, None),
    ],
)
def test_the_gates_job_packages_only_what_the_gate_lets_pass_and_fails_if_a_command_fails(
    tmp_path: Path, outcome: str, asked: int, built: dict[str, Any], packaged: int, release: str | None
) -> None:
    put_stub(tmp_path, STUB.format(outcome=outcome, asked=asked, built=json.dumps(built), packaged=packaged))
    done = play("gate", tmp_path)
    assert (done.returncode == 0) == (release is not None)
    if release is not None:
        assert (tmp_path / "release.env").read_text() == release
        report = (tmp_path / "report.md").read_text()
        assert report.startswith(f"Release: `{release.removeprefix('RELEASE=').strip() or 'none'}`")
        assert "all verdicts" in report
        assert "no drift" in report
        assert report in done.stdout
    calls = (tmp_path / "calls").read_text()
    assert ("release build" in calls) == (asked == 0 and outcome in {"promote", "overridden"})


@pytest.mark.parametrize("code", [0, 4])
def test_a_rollout_starts_only_after_an_approval_that_succeeded(tmp_path: Path, code: int) -> None:
    put_stub(tmp_path, f"#!/bin/sh\necho $* >> calls\nexit {code}\n")
    approve = play("approve", tmp_path, RELEASE="sha256:1", GITLAB_USER_LOGIN="bea", CI_JOB_URL="https://gitlab.example.com/1")
    assert approve.returncode == code
    assert JOBS["approve"]["artifacts"] == {"reports": {"dotenv": "approval.env"}}
    # GitLab hands the variables of a dotenv report on only if the job succeeded.
    written = (tmp_path / "approval.env").read_text().splitlines() if code == 0 else []
    variables = dict(line.split("=", 1) for line in written)
    (tmp_path / "calls").unlink()
    rollout = play("rollout", tmp_path, RELEASE="sha256:1", GITLAB_USER_LOGIN="bea", **variables)
    assert (rollout.returncode == 0) == (code == 0)
    assert (tmp_path / "calls").exists() == (code == 0)


def test_without_a_release_nothing_is_approved_and_nothing_rolled_out(tmp_path: Path) -> None:
    put_stub(tmp_path, "#!/bin/sh\necho $* >> calls\n")
    for job in ("approve", "rollout"):
        assert play(job, tmp_path, RELEASE="").returncode == 0
    assert (tmp_path / "approval.env").read_text() == ""
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize("job", sorted(JOBS))
def test_every_command_exists_with_these_options(job: str) -> None:
    for command in find_commands(job):
        names = command[1:3] if command[1] in {"gate", "release", "rollout"} else command[1:2]
        shown = CliRunner().invoke(app, [*names, "--help"], env={"COLUMNS": "200"}, catch_exceptions=False).stdout
        for option in (word for word in command if word.startswith("-")):
            assert option in shown, f"{' '.join(names)} has no {option}"
