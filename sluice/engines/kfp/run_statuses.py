"""What the KFP API says about a run: its steps and its outcome. Pure functions of the API's answers and the pipeline.

KFP's API lists the nodes of its own workflow: besides a node for each task there is one for each driver, and one named
``executor`` for each container. The pipeline's IR says which names are tasks, and which of them contain others.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.carried_records import DETAIL, RECORD, find_printed_record, read_lines
from sluice.engines import RunStatus, RunSummary, StepStatus
from sluice.engines.kfp.metadata_store import match_executions
from sluice.engines.outcomes import DRIFT, GATE, PACKAGE, PIN, TRAIN, FinishedStep, conclude, find_paths
from sluice.ir.graph import Dag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sluice.engines.kfp.metadata_store import Execution
    from sluice.ir.graph import Component, Pipeline

_OUTCOMES = {
    "PENDING": "pending",
    "RUNNING": "running",
    "SUCCEEDED": "pass",
    "SKIPPED": "skipped",
    "FAILED": "fail",
    "CANCELING": "running",
    "CANCELED": "interrupted",
    "PAUSED": "waiting",
}
_STATES = {"SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELED": "interrupted", "CANCELING": "running"}
_ITEM = re.compile(r"\(.*\)$", re.DOTALL)
_ATTEMPT = re.compile(r"\(\d+\)$")
_EXIT = re.compile(r"exit status (\d+)")
DRIVER, EXECUTOR = "-driver", "executor"
OUTPUT = "Output"
"""Name of the parameter with the value that a Python component returns."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the pipeline.

    Attributes:
        name: Its name.
        component: Name of its component, for example ``gate``.
        depth: Number of enclosing parts of the pipeline.
        is_group: Whether it contains other tasks.
    """

    name: str
    component: str
    depth: int
    is_group: bool


def find_tasks(pipeline: Pipeline, component: Component | None = None, depth: int = 0) -> Iterator[Task]:
    """Yield the tasks of a pipeline, each part before what it contains."""
    body = (component or pipeline.root).body
    if not isinstance(body, Dag):
        return
    for task in body.tasks.values():
        inner = pipeline.component(task)
        is_group = isinstance(inner.body, Dag)
        yield Task(task.name, inner.name.removeprefix("comp-"), depth, is_group)
        if is_group:
            yield from find_tasks(pipeline, inner, depth + 1)


def describe_run(
    run: Mapping[str, Any],
    tasks: Sequence[Task],
    *,
    pipeline: str,
    ui_url: str,
    now: float,
    logs: Mapping[str, str] | None = None,
    executions: Sequence[Execution] = (),
) -> RunStatus:
    """Describe a run.

    Args:
        run: The answer of the API as plain JSON types.
        tasks: The tasks of its pipeline, as `find_tasks` returns them; empty if the pipeline is not known.
        pipeline: Name of the pipeline.
        ui_url: URL of KFP's user interface.
        now: Seconds since the epoch.
        logs: Step that failed → end of its log. KFP's launcher writes the exit code of the user's process there and nowhere else.
        executions: What ML Metadata knows about the steps: their outputs, and the metadata of their records.
    """
    details = ((run.get("run_details") or {}).get("task_details")) or []
    steps = tuple(_describe_task(task, node) for task in tasks for node in _nodes_of(details, task))
    known = match_executions(steps, executions)
    steps = tuple(_with_detail(step, known.get(step.id)) for step in steps)
    state = _STATES.get(str(run.get("state") or ""), "running")
    ended = state in {"succeeded", "failed", "interrupted"}
    components = {task.name: task.component for task in tasks}
    paths = find_paths(steps)
    finished = [
        _finish(step, components[step.name], paths[step.id], logs or {}, known.get(step.id))
        for step in steps
        if not step.is_group
    ]
    if ended:
        finished = _infer_outputs(finished, frozenset(components.values()))
    outcome = conclude(finished, state=state, message=_message(run, steps))
    started = _seconds(run.get("created_at"))
    over = _seconds(run.get("finished_at")) if ended else None
    return RunStatus(
        summary=RunSummary(
            id=str(run["run_id"]),
            engine="kfp",
            pipeline=pipeline,
            outcome=outcome.name,
            release=outcome.release,
            gate=outcome.gate,
            numbers=outcome.numbers,
            started=started,
            seconds=None if started is None else (over or now) - started,
            url=f"{ui_url}/#/runs/details/{run['run_id']}",
        ),
        steps=steps,
        ended=ended,
        reason=outcome.reason,
        exit_code=outcome.exit_code,
    )


def _nodes_of(details: Sequence[Mapping[str, Any]], task: Task) -> list[Mapping[str, Any]]:
    """Return the nodes of a task, one for each iteration of a loop. A failed driver stands for a task that never ran."""
    own = [node for node in details if _ITEM.sub("", str(node.get("display_name"))) == task.name]
    if any(node.get("display_name") == task.name for node in own):  # it stands for its attempts, as in ``train(0)``
        own = [node for node in own if not _ATTEMPT.search(str(node.get("display_name")))]
    if own:
        return sorted(own, key=lambda node: str(node.get("start_time")))
    return [node for node in details if node.get("display_name") == f"{task.name}{DRIVER}" and node.get("state") == "FAILED"]


def _describe_task(task: Task, node: Mapping[str, Any]) -> StepStatus:
    state = str(node.get("state") or "PENDING")
    error = (node.get("error") or {}).get("message") or ""
    driver = str(node.get("display_name")).endswith(DRIVER)
    return StepStatus(
        id=str(node.get("task_id") or node.get("pod_name")),
        name=task.name,
        depth=task.depth,
        outcome=_OUTCOMES.get(state, "running"),
        detail=" ".join(str(error).split()) or ("KFP's driver failed before the step started" if driver else ""),
        started=_seconds(node.get("start_time")),
        ended=_seconds(node.get("end_time")),
        is_group=task.is_group,
    )


def _with_detail(step: StepStatus, execution: Execution | None) -> StepStatus:
    """Return a step with what it said when it ended, if KFP says nothing about it."""
    told = _read_facts(execution).get(DETAIL)
    return step if step.detail or not told else dataclasses.replace(step, detail=str(told))


def _read_facts(execution: Execution | None) -> Mapping[str, Any]:
    """Return the metadata of a step's record."""
    artifact = execution.artifacts.get(RECORD) if execution else None
    return artifact.metadata if artifact else {}


def _finish(
    step: StepStatus, component: str, path: str, logs: Mapping[str, str], execution: Execution | None = None
) -> FinishedStep:
    log = logs.get(step.name, "")
    codes = _EXIT.findall(log) or _read_code(log)
    return FinishedStep(
        component=component,
        path=path,
        outcome=step.outcome,
        output=execution.outputs.get(OUTPUT) if execution else None,
        exit_code=int(codes[-1]) if codes else None,
        detail=step.detail,
        facts=_read_facts(execution),
    )


def _read_code(log: str) -> list[int]:
    """Return the exit code in the record that a failed step printed. The log that KFP keeps lacks the lines of its launcher."""
    events = [line.get("event") for line in read_lines(find_printed_record(log.splitlines()))]
    return [event["exit_code"] for event in events if isinstance(event, dict) and isinstance(event.get("exit_code"), int)]


def _infer_outputs(steps: list[FinishedStep], known: frozenset[str]) -> list[FinishedStep]:
    """Add what the pin, the gate and the drift step of a run that has ended returned, if ML Metadata could not be asked.

    Whether the steps under a condition ran says what the condition's value was.

    Args:
        steps: The steps.
        known: The components of the pipeline. A pipeline without the step under the condition says nothing.
    """
    ran = {step.component for step in steps if step.outcome in {"pass", "fail"}}
    chain = ((GATE, PACKAGE), (DRIFT, TRAIN), (PIN, DRIFT if DRIFT in known else TRAIN))
    follows = {step: after for step, after in chain if after in known}
    return [
        dataclasses.replace(step, output=follows[step.component] in ran)
        if step.component in follows and step.output is None
        else step
        for step in steps
    ]


def _message(run: Mapping[str, Any], steps: Sequence[StepStatus]) -> str:
    """Return what KFP says about the run; otherwise the path of the innermost failed step."""
    if error := (run.get("error") or {}).get("message"):
        return str(error)
    failed = [step for step in steps if step.outcome == "fail"]
    return " / ".join(step.name for step in failed)


def find_pod(details: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return the pod of a step's container; that of its driver if the container never started; empty if there is neither.

    The API names a step's children by the ids of their nodes, and a pod by its name. Both end in the same digits.
    """
    pods = {str(node["pod_name"]).rpartition("-")[2]: node for node in details if node.get("pod_name")}
    for node in details:
        if _ITEM.sub("", str(node.get("display_name"))) == name:
            for child in node.get("child_tasks") or ():
                found = pods.get(str(child.get("pod_name")).rpartition("-")[2])
                if found and found.get("display_name") == EXECUTOR:
                    return str(found["pod_name"])
    drivers = [node for node in details if node.get("display_name") == f"{name}{DRIVER}"]
    return str(drivers[-1].get("pod_name") or "") if drivers else ""


def _seconds(value: Any) -> float | None:  # noqa: ANN401 - a datetime of kfp_server_api
    """Return a time in seconds since the epoch; None if the API has not set it (it then sends 1970)."""
    if value is None:
        return None
    found = float(value.timestamp())
    return found if found > 0 else None
