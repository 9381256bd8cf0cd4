"""What the KFP API says about a run: its steps and its outcome. Pure functions of the API's answers and the pipeline.

`sluice.engines.kfp.node_trees` makes a tree of the nodes that the API lists, and `sluice.engines.kfp.task_nodes` finds the tasks
of the pipeline in it.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from sluice.carried_records import DETAIL, RECORD, find_printed_record, read_lines
from sluice.engines import RunStatus, RunSummary, StepStatus
from sluice.engines.kfp.metadata_store import match_executions
from sluice.engines.kfp.node_trees import build_tree
from sluice.engines.kfp.task_nodes import match_nodes
from sluice.engines.outcomes import APPROVAL, DRIFT, GATE, OUTPUT, PACKAGE, PIN, TRAIN, FinishedStep, conclude, find_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sluice.engines.kfp.metadata_store import Execution
    from sluice.engines.kfp.task_nodes import Task, TaskNode

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
_EXIT = re.compile(r"exit status (\d+)")


def describe_run(
    run: Mapping[str, Any],
    tasks: Sequence[Task],
    nodes: Sequence[TaskNode],
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
        tasks: The tasks of its pipeline, as `read_tasks` returns them; empty if the pipeline is not known.
        nodes: What `find_nodes` returned for them.
        pipeline: Name of the pipeline.
        ui_url: URL of KFP's user interface.
        now: Seconds since the epoch.
        logs: Id of the step that failed → its log. KFP's launcher writes the exit code of the user's process only there.
        executions: What ML Metadata knows about the steps: their outputs, and the metadata of their records.
    """
    steps = tuple(_describe_task(found) for found in nodes)
    known = match_executions(steps, executions)
    steps = tuple(_with_detail(step, known.get(step.id)) for step in steps)
    state = _STATES.get(str(run.get("state") or ""), "running")
    waiting = next((step for step in steps if step.outcome == "waiting"), None)
    state = "waiting" if state == "running" and waiting else state
    ended = state in {"succeeded", "failed", "interrupted"}
    components = {found.node.id: found.task.component for found in nodes}
    paths = find_paths(steps)
    finished = [
        _finish(step, components[step.id], paths[step.id], logs or {}, known.get(step.id)) for step in steps if not step.is_group
    ]
    if ended:
        finished = _infer_outputs(finished, frozenset(_components_of(tasks)))
    message = f"the step {waiting.name} waits for the approval of the release" if waiting else _message(run, steps)
    outcome = conclude(finished, state=state, message=message)
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
        hint=_advise_approval(outcome.release) if state == "waiting" else "",
        exit_code=outcome.exit_code,
    )


def _advise_approval(release: str) -> str:
    """Return how the release that a run waits for is approved. Of a release without a number only some digits are known."""
    if release.isdecimal():
        return f"`sluice rollout approve {release}` approves it."
    return "`sluice rollout approve RELEASE` approves it, and `sluice rollout status` names it."


def _describe_task(found: TaskNode) -> StepStatus:
    task, node = found.task, found.node.fields
    state = str(node.get("state") or "PENDING")
    # On KFP this step is a process that looks for the approval, so for KFP it is a running one.
    state = "PAUSED" if state == "RUNNING" and task.component == APPROVAL else state
    error = (node.get("error") or {}).get("message") or ""
    return StepStatus(
        id=found.node.id,
        name=task.name,
        depth=task.depth,
        outcome=_OUTCOMES.get(state, "running"),
        detail=" ".join(str(error).split()) or ("KFP's driver failed before the step started" if found.driver_failed else ""),
        started=_seconds(node.get("start_time")),
        ended=_seconds(node.get("end_time")),
        is_group=task.is_group,
        cached=found.cached,
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
    log = logs.get(step.id, "")
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


def _components_of(tasks: Sequence[Task]) -> Iterator[str]:
    for task in tasks:
        yield task.component
        yield from _components_of(task.parts)


def _message(run: Mapping[str, Any], steps: Sequence[StepStatus]) -> str:
    """Return what KFP says about the run; otherwise the path of the innermost failed step."""
    if error := (run.get("error") or {}).get("message"):
        return str(error)
    failed = [step for step in steps if step.outcome == "fail"]
    return " / ".join(step.name for step in failed)


def find_nodes(run: Mapping[str, Any], tasks: Sequence[Task]) -> list[TaskNode]:
    """Return the tasks that a run has got to, and their nodes.

    Args:
        run: The answer of the API as plain JSON types.
        tasks: The tasks of its pipeline.
    """
    return list(match_nodes(tasks, build_tree(((run.get("run_details") or {}).get("task_details")) or [])))


def _seconds(value: Any) -> float | None:  # noqa: ANN401 - a datetime of kfp_server_api
    """Return a time in seconds since the epoch; None if the API has not set it (it then sends 1970)."""
    if value is None:
        return None
    found = float(value.timestamp())
    return found if found > 0 else None
