"""The child process in which kfp.local runs a pipeline, in a process group of its own.

kfp.local orphans the running step when it is ended, and writes its log to stdout: so it runs in a session that the engine
can end as a whole. The session also ends itself when the engine is gone: it holds the read end of a pipe whose write end
only the engine has.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from sluice.errors import NotServingError
from sluice.project.projects import Project, read_project
from sluice.rollout.requests import statuses
from sluice.steps.records import interruptible, running_step

if TYPE_CHECKING:
    from collections.abc import Mapping

LIFELINE_VARIABLE = "SLUICE_LIFELINE"
CANARY = "comp-canary"
"""Key of the canary step in a pipeline's IR: KFP makes it from the component's name."""


def end_when_engine_ends(lifeline: int) -> None:
    """Kill this whole process group as soon as the pipe closes, which it does when the engine ends, even by SIGKILL."""

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def check_serving(project: Project, function: Any) -> None:  # noqa: ANN401 - a KFP pipeline function
    """Refuse a pipeline that ends in production where nothing serves, before the minutes of work and not after them.

    Raises:
        NotServingError: The pipeline has a canary, and no supervisor or controller is running.
    """
    if CANARY not in function.pipeline_spec.components:
        return
    status = statuses.read_status(project)
    if project.settings.rollout.in_cluster and not status.supervised:
        where = f"namespace {project.settings.seldon.namespace}" if project.settings.seldon.namespace else "this namespace"
        raise NotServingError(
            f"this pipeline goes to production, and no controller acts in {where}",
            hint=f"Install `sluice rollout controller` there (docs/installation.md){_suggest_alternatives(project, function)}.",
        )
    if not (project.settings.rollout.in_cluster or status.url):
        raise NotServingError(
            "this pipeline goes to production, and nothing serves here",
            hint=f"Start `sluice serve` in another terminal{_suggest_alternatives(project, function)}.",
        )


def _suggest_alternatives(project: Project, function: Any) -> str:  # noqa: ANN401 - a KFP pipeline function
    """The project's pipelines that end before production, as a further way out; empty where it has none."""
    others = []
    for name, path in sorted(project.settings.pipelines.items()):
        other = project.load_object(path, key=f"pipelines.{name}")
        if other is not function and CANARY not in other.pipeline_spec.components:
            others.append(f"`sluice run {name}`")
    return f", or run one that ends before production: {', '.join(others)}" if others else ""


def run_session(pipeline: str, arguments: Mapping[str, Any], artifacts: str) -> None:
    """Run one pipeline of the project to its end; an error of a step ends the process with status 1."""
    from kfp import local  # noqa: PLC0415 - the lifeline must be held before seconds of imports

    project = read_project()
    function = project.load_object(project.settings.pipelines[pipeline], key=f"pipelines.{pipeline}")
    with running_step("preflight"):
        check_serving(project, function)
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=artifacts, raise_on_error=True)
    with interruptible():  # kfp.local then waits for the step, which gets the signal as well and cleans up behind itself
        function(**arguments)


if __name__ == "__main__":
    end_when_engine_ends(int(os.environ[LIFELINE_VARIABLE]))
    run_session(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])
