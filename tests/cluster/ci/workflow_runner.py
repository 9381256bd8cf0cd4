"""Play the jobs of a GitHub workflow on this machine, each in a clone of its own, as runners would.

Only what `.github/workflows/ml-cicd.yml` uses is known: checkout, the two local actions, artifacts, scripts, the outputs of steps
and jobs, and a few forms of conditions. Anything else is an error, so that a change of the workflow cannot go unnoticed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
_EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")


@dataclass
class Runner:
    """A workflow, and what its jobs have left so far.

    Attributes:
        workflow: The parsed workflow.
        folder: Where the clones and the artifacts are.
        environment: Environment of every script, instead of the workflow's own `env`.
        programs: Folder with programs that come first on the path.
        outputs: Job → its outputs.
        logged_in: The jobs that have logged in to the cluster. Only their scripts get the kubeconfig.
        event: Name of the event that started the workflow.
    """

    workflow: dict[Any, Any]
    folder: Path
    environment: dict[str, str]
    programs: Path
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    logged_in: list[str] = field(default_factory=list)
    event: str = "push"

    def clone(self, job: str) -> Path:
        """Return the folder of a job."""
        return self.folder / "clones" / job

    def play(self, job: str) -> None:
        """Run the steps of a job in a new clone."""
        self.check_needs(job)
        described, clone = self.workflow["jobs"][job], self.clone(job)
        known: dict[str, dict[str, str]] = {}
        job_environment = {name: self.fill(str(value), known) for name, value in described.get("env", {}).items()}
        for step in described["steps"]:
            if not self.holds(step.get("if", "always()"), known, job_environment):
                continue
            action = str(step.get("uses", "")).partition("@")[0]
            given = step.get("with", {})
            if action == "actions/checkout":
                subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
            elif action == "./.github/actions/set-up":
                self.set_up(clone)
            elif action == "./.github/actions/log-in":
                if "kubeconfig" in given:  # the registry needs no password
                    self.logged_in.append(job)
            elif action == "actions/upload-artifact":
                self.upload(clone, str(given["name"]), str(given["path"]).split())
            elif action == "actions/download-artifact":
                self.download(clone, given)
            elif "run" in step and not action:
                own = {name: self.fill(str(value), known) for name, value in step.get("env", {}).items()}
                known[step.get("id", "")] = self.run(clone, step["run"], self.kubeconfig(job) | job_environment | own)
            else:
                raise AssertionError(f"{job}: a step of an unknown kind: {step}")
        self.outputs[job] = {name: self.fill(value, known) for name, value in described.get("outputs", {}).items()}

    def check_needs(self, job: str) -> None:
        missing = set(self.workflow["jobs"][job].get("needs", [])) - set(self.outputs)
        assert not missing, f"{job} needs {missing}"

    def set_up(self, clone: Path) -> None:
        """Do what `make setup data` does: give the clone both environments and the data."""
        for name in (".venv", ".venv-serving"):
            (clone / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "data", clone / "data")

    def kubeconfig(self, job: str) -> dict[str, str]:
        """Return the variable with the kubeconfig; for a job that has not logged in, one that names no file."""
        return {"KUBECONFIG": os.environ["KUBECONFIG"] if job in self.logged_in else "/nonexistent"}

    def download(self, clone: Path, given: dict[str, str]) -> None:
        """Copy artifacts as the action does: one by its name, or those that match a pattern, each to a folder of its own."""
        artifacts = self.folder / "artifacts"
        if "name" in given:
            shutil.copytree(artifacts / given["name"], clone / given["path"], dirs_exist_ok=True)
            return
        for found in sorted(artifacts.glob(given["pattern"])):
            shutil.copytree(found, clone / given["path"] / found.name, dirs_exist_ok=True)

    def upload(self, clone: Path, name: str, paths: list[str]) -> None:
        """Store files as the action does: relative to the deepest folder that contains all of the paths."""
        base = Path(os.path.commonpath([clone / path for path in paths]))
        for path in paths:
            target = self.folder / "artifacts" / name / (clone / path).relative_to(base)
            shutil.copytree(clone / path, target, dirs_exist_ok=True)

    def run(self, clone: Path, script: str, own: dict[str, str]) -> dict[str, str]:
        """Run a script as a runner does, and return the outputs that it wrote."""
        output = clone / "github-output"
        output.write_text("")
        environment = os.environ | self.environment | own
        environment |= {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(clone),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(clone / "github-summary.md"),
        }
        # GitHub's own default for `run` has no pipefail. It has, if the workflow names the shell.
        options = {"bash": "-eo pipefail", "": "-e"}[self.workflow.get("defaults", {}).get("run", {}).get("shell", "")]
        command = ["bash", *options.split(), "-c", script]
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return dict(line.split("=", 1) for line in output.read_text().splitlines())

    def fill(self, text: str, known: dict[str, dict[str, str]]) -> str:
        """Replace the expressions of a text."""
        return _EXPRESSION.sub(lambda match: self.evaluate(match[1], known), text)

    def evaluate(self, expression: str, known: dict[str, dict[str, str]]) -> str:
        first, _, other = expression.partition(" || ")
        words = first.split(".")
        if words[0] == "steps":
            found = known.get(words[1], {}).get(words[3], "")
        elif words[0] == "needs":
            found = "success" if words[2] == "result" else self.outputs[words[1]].get(words[3], "")
        elif words[0] == "secrets":
            found = ""  # the optional secrets are not set
        elif first == "github.event_name":
            found = self.event
        elif first == "github.event.pull_request.head.repo.full_name":
            found = "a fork"  # its token cannot write comments
        elif first == "github.repository":
            found = "owner/repository"
        elif first == "github.token":
            found = "a token"
        else:
            raise AssertionError(f"an unknown expression: {expression}")
        return found or other.strip("'")

    def holds(self, condition: str, known: dict[str, dict[str, str]], environment: dict[str, str]) -> bool:
        """Return whether the condition of a step holds."""
        if condition == "always()":
            return True
        if " || " in condition:
            return any(self.holds(part, known, environment) for part in condition.split(" || "))
        name, sign, value = condition.split()
        found = environment[name.removeprefix("env.")] if name.startswith("env.") else self.evaluate(name, known)
        expected = value.strip("'") if value.startswith("'") else self.evaluate(value, known)
        return (found == expected) == {"==": True, "!=": False}[sign]
