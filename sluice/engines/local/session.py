"""The child process in which kfp.local runs a pipeline. It has a process group of its own.

When kfp.local is ended, it leaves the running step behind, and it writes its log to stdout. Therefore it runs in a process group
that the engine can end as a whole. The group also ends when the engine ends: the child holds the read end of a pipe (the
lifeline), and only the engine holds the write end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from sluice.errors import NotServingError
from sluice.project.projects import Project, read_project
from sluice.rollout.requests import statuses
from sluice.steps.before_training.keys import check_gate_key, check_signing_key
from sluice.steps.before_training.requirements import check_project
from sluice.steps.ledgers import check_gate
from sluice.steps.records import interruptible, running_step

if TYPE_CHECKING:
    from collections.abc import Mapping

LIFELINE_VARIABLE = "SLUICE_LIFELINE"
"""Environment variable with the file descriptor of the pipe's read end."""

CANARY, GATE, PACKAGE = "comp-canary", "comp-gate", "comp-package"
"""Keys of the steps in a pipeline's IR. KFP derives them from the components' names."""


def end_when_engine_ends(lifeline: int) -> None:
    """Kill this process group as soon as the pipe closes. It closes when the engine ends, even after a SIGKILL."""

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def check_serving(project: Project, function: Any) -> None:  # noqa: ANN401 - a KFP pipeline function
    """Make sure that a supervisor or a controller runs, if the pipeline contains a rollout.

    The check comes before the pipeline starts, so that it does not fail after minutes of work.

    Raises:
        NotServingError: The pipeline has a canary step, and no supervisor or controller is running.
    """
    if CANARY not in function.pipeline_spec.components:
        return
    status = statuses.read_status(project)
    if project.settings.rollout.in_cluster and not status.supervised:
        where = f"namespace {project.settings.seldon.namespace}" if project.settings.seldon.namespace else "this namespace"
        raise NotServingError(
            f"this pipeline starts a rollout, but no controller is running in {where}",
            hint=(
                f"Install `sluice rollout controller` there (see docs/installation.md){_suggest_alternatives(project, function)}."
            ),
        )
    if not (project.settings.rollout.in_cluster or status.url):
        raise NotServingError(
            "this pipeline starts a rollout, but `sluice serve` is not running for this project",
            hint=f"Start `sluice serve` in another terminal{_suggest_alternatives(project, function)}.",
        )


def _suggest_alternatives(project: Project, function: Any) -> str:  # noqa: ANN401 - a KFP pipeline function
    """Return the end of a hint that names the project's pipelines without a rollout; empty if there are none."""
    others = []
    for name, path in sorted(project.settings.pipelines.items()):
        other = project.load_object(path, key=f"pipelines.{name}")
        if other is not function and CANARY not in other.pipeline_spec.components:
            others.append(f"`sluice run {name}`")
    return f", or run a pipeline without a rollout: {', '.join(others)}" if others else ""


def check_gate_inputs(project: Project, function: Any) -> list[str]:  # noqa: ANN401 - a KFP pipeline function
    """Make sure that the gate's inputs can be read, if the pipeline asks the gate, and return its warnings.

    The check comes before the training, so that a missing holdout or a damaged ledger is not found only after it. A spent budget
    is only a warning, because a person may have let the model pass that is about to be trained.

    Raises:
        ConfigurationError: A path in project.packages or serving.lock does not exist, or a private key that must sign is missing.
        RefusedError: The serving image cannot serve what this environment trains.
        DataError: The holdout cannot be read, or has too few rows of a class.
        StateError: The gate would refuse every question, for example because gate.budget was changed, or the ledger cannot be
            read, or was deleted, shortened or replaced.
    """
    if GATE not in function.pipeline_spec.components:
        return []
    check_gate_key(project)
    if PACKAGE in function.pipeline_spec.components:
        check_signing_key(project)
    note = check_project(project)
    return [*([note] if note else []), *check_gate(project, now=time.time())]


def run_session(pipeline: str, arguments: Mapping[str, Any], artifacts: str) -> None:
    """Run one pipeline of the project to its end. An error in a step ends the process with exit code 1."""
    from kfp import local  # noqa: PLC0415 - the import takes seconds, and the lifeline must be watched before

    project = read_project()
    function = project.load_object(project.settings.pipelines[pipeline], key=f"pipelines.{pipeline}")
    with running_step("preflight") as step:
        check_serving(project, function)
        step.detail = "; ".join(check_gate_inputs(project, function))
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=artifacts, raise_on_error=True)
    with interruptible():  # kfp.local then waits for the step, which gets the signal too and removes its temporary files
        function(**arguments)


if __name__ == "__main__":
    end_when_engine_ends(int(os.environ[LIFELINE_VARIABLE]))
    run_session(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])
