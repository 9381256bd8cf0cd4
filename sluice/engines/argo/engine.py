"""The engine `argo`: WorkflowTemplates, Workflows and a CronWorkflow, through the Kubernetes API server alone."""

from __future__ import annotations

import dataclasses
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sluice.argo.objects.workflows import lower_pipeline
from sluice.engines.argo.api_server import CRON, TEMPLATE, WORKFLOW
from sluice.engines.argo.approvals import plan_answer
from sluice.engines.argo.artifacts import read_records
from sluice.engines.argo.credentials import connect
from sluice.engines.argo.pod_reasons import NODE_ANNOTATION, with_reasons
from sluice.engines.argo.retries import plan_retry
from sluice.engines.argo.run_statuses import describe_workflow, find_steps
from sluice.engines.argo.schedules import describe_cron, plan_cron
from sluice.engines.argo.workflow_objects import (
    PROJECT_LABEL,
    labels_of,
    plan_arguments,
    plan_run,
    schedule_name,
    template_name,
)
from sluice.engines.arguments import check_arguments, check_run_id
from sluice.engines.compiling import argo_options
from sluice.engines.outcomes import explain_failure, find_failed
from sluice.engines.reconnection import Patience, UnreachableError
from sluice.engines.results.rebuilding import rebuild_result
from sluice.engines.sources import check_pipeline, find_warnings, read_source
from sluice.errors import ConfigurationError, DataError, ServiceError, SluiceError, StateError
from sluice.kubernetes_calls import POD

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from sluice.engines import RunStatus, RunSummary, SchedulePlan, ScheduleStatus
    from sluice.engines.argo.api_server import ApiServer
    from sluice.engines.argo.run_statuses import Node
    from sluice.ir.graph import Pipeline
    from sluice.project.projects import Project
    from sluice.report.results import RunResult

NAME = "argo"
WATCH_SECONDS = 300
"""How long one watch of a Workflow lasts before it is opened again."""

DELETION_SECONDS, POLL_SECONDS = 30.0, 0.2
"""How long a deleted schedule may still exist, and the pause between two looks at it."""

OF_EXECUTOR = re.compile(r"time=\S+ level=\w+ msg=.* argo=true( |$)")
"""A line that Argo's executor writes into the log of a step's container."""

TRIES = 5
"""How often a change is tried again because Argo's controller changed the object at the same time."""

_RUN_LABEL = "workflows.argoproj.io/workflow"


@dataclass(slots=True)
class ArgoEngine:
    """Run pipelines of one project on Argo Workflows.

    Attributes:
        project: The project.
        api: The API server.
        applies: Whether `submit` applies the WorkflowTemplate first. An account that may only create Workflows cannot do so.
    """

    project: Project
    api: ApiServer
    applies: bool = True
    _prepared: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The name of the engine."""
        return NAME

    @property
    def resume_approves(self) -> bool:
        """No: the run goes on and requests the rollout, and nobody approves their own request."""
        return False

    @property
    def _selector(self) -> str:
        return f"{PROJECT_LABEL}={self.project.settings.project.name}"

    def pipeline(self, name: str) -> Pipeline:
        """Return a pipeline of the project as a graph.

        Raises:
            ConfigurationError: sluice.toml has no pipeline of this name.
        """
        check_pipeline(self.project, name)
        _, pipeline = read_source(name, self.project)
        find_warnings(name, pipeline)
        return pipeline

    def prepare(self, pipeline: str, *, force: bool = False, dry_run: bool = False) -> str:
        """Bring the pipeline's WorkflowTemplate to the cluster with server-side apply, and say what changed.

        Args:
            pipeline: Name of the pipeline.
            force: Whether to take over fields that another manager owns.
            dry_run: Whether the API server checks everything and stores nothing.

        Returns:
            One line, for example ``WorkflowTemplate argo/churn-release: unchanged``.

        Raises:
            UnsupportedError: Argo cannot express the pipeline.
        """
        name = template_name(self.project.settings.project.name, pipeline)
        document = self._compile(pipeline, "WorkflowTemplate", name)
        before = self.api.get(TEMPLATE, name)
        after = self.api.apply(TEMPLATE, document, force=force, dry_run=dry_run)
        self._prepared.add(pipeline)
        return f"WorkflowTemplate {self.api.namespace}/{name}: {_compare(before, after)}"

    def _compile(self, pipeline: str, kind: str, name: str) -> dict[str, Any]:
        options = argo_options(self.project, kind=kind, name=name, namespace=self.api.namespace, schedules=("@weekly",))
        labels = {**dict(options.labels), **labels_of(self.project.settings.project.name, pipeline)}
        document, refusals = lower_pipeline(self.pipeline(pipeline), dataclasses.replace(options, labels=tuple(labels.items())))
        refusals.raise_if_any()
        return document

    def submit(self, pipeline: str, arguments: Mapping[str, Any], *, key: str = "") -> str:
        """Start a Workflow from the pipeline's WorkflowTemplate, applied before unless it must be there already.

        With a key, the Workflow's name is derived from it, so the API server refuses a second one while the first exists.
        """
        graph = self.pipeline(pipeline)
        check_arguments(graph, arguments)
        parameters = plan_arguments(graph, arguments)
        if self.applies and pipeline not in self._prepared:
            self.prepare(pipeline)
        project = self.project.settings.project.name
        body = plan_run(template_name(project, pipeline), labels_of(project, pipeline), parameters, key=key)
        made = self.api.create(WORKFLOW, body)
        return str((made or body)["metadata"]["name"])

    def read(self, run: str) -> RunStatus:
        """Return the run as it is now. The log of a failed step says why it failed, and the pod of a pending one why it waits."""
        return self._explain(self._describe(self._get(run)))

    def result(self, run: str) -> RunResult:
        """Return what the steps recorded. The records are in the artifact store of the Workflow."""
        workflow = self._get(run)
        status = self._explain(self._describe(workflow))
        return rebuild_result(status, tuple(read_records(self.api, workflow, status.steps)))

    def _explain(self, status: RunStatus) -> RunStatus:
        run, failed = status.summary.id, find_failed(status)
        try:
            if failed:
                return explain_failure(status, self.logs(run, failed.name))
            if any(step.outcome == "pending" for step in status.steps):
                return with_reasons(status, self.api.list(POD, f"{_RUN_LABEL}={run}"))
        except SluiceError:  # the account may not read pods or logs, or the step had no pod
            pass
        return status

    def _describe(self, workflow: Mapping[str, Any]) -> RunStatus:
        return describe_workflow(workflow, now=time.time(), ui_url=self.project.settings.argo.ui_url)

    def _get(self, run: str) -> dict[str, Any]:
        check_run_id(run, NAME)
        found = self.api.get(WORKFLOW, run)
        if found is None:
            raise DataError(
                f"namespace {self.api.namespace} has no run {run!r}",
                hint="`sluice runs` lists the runs. Argo deletes ended runs after a time, if its controller is told so.",
            )
        return found

    def watch(self, run: str) -> Generator[RunStatus]:
        """Yield the run after each change of the Workflow. Leaving the iterator does not end the run.

        If the API server does not answer, the watch goes on when it does again, within about a minute.
        """
        patience = Patience()
        while True:
            try:
                status = yield from self._watch_once(run, patience)
            except UnreachableError as error:
                patience.wait(error)
                continue
            if status.ended:
                return

    def _watch_once(self, run: str, patience: Patience) -> Generator[RunStatus, None, RunStatus]:
        """Yield the run as it is, and after each change until the watch ends. Return its last status."""
        workflow = self._get(run)
        patience.answered()
        status = self._explain(self._describe(workflow))
        yield status
        if status.ended:
            return status
        for changed in self.api.watch(WORKFLOW, run, str(workflow["metadata"]["resourceVersion"]), WATCH_SECONDS):
            found = self._describe(changed)
            if found.ended:
                break  # the next watch begins with this status and the reason of a failure
            yield found
        return status

    def logs(self, run: str, step: str = "") -> Iterator[str]:
        """Yield the lines that a step's own container printed, in all of its attempts.

        Raises:
            DataError: There is no such step, it has had no pod, or its pods were deleted.
        """
        workflow = self._get(run)
        found = find_steps(workflow, step)
        if not found:
            names = sorted({str(node["displayName"]) for node in find_steps(workflow, "")})
            raise DataError(
                f"run {run} has no step {step!r} with a pod" if step else f"run {run} has had no pod yet",
                hint=f"Its steps with a pod are: {', '.join(names) or 'none'}.",
            )
        return self._read_logs(run, found)

    def _read_logs(self, run: str, found: list[Node]) -> Iterator[str]:
        pods = {
            str((pod["metadata"].get("annotations") or {}).get(NODE_ANNOTATION)): str(pod["metadata"]["name"])
            for pod in self.api.list(POD, f"{_RUN_LABEL}={run}")
        }
        for node in found:
            lines = self.api.lines(pods[node["id"]], "main") if node["id"] in pods else None
            if len(found) > 1:
                yield f"--- {node['displayName']}"
            if lines is None:
                yield f"(the log of {node['displayName']} does not exist: its pod has not started, or was deleted)"
            else:
                yield from (line for line in lines if not OF_EXECUTOR.match(line))

    def cancel(self, run: str) -> None:
        """Stop the run. Its steps get SIGTERM, and its exit tasks run."""
        workflow = self._get(run)
        if not self._describe(workflow).ended:
            self.api.merge(WORKFLOW, run, {"spec": {"shutdown": "Stop"}})

    def retry(self, run: str) -> None:
        """Run a failed run again from the steps that failed.

        Raises:
            StateError: The run has not failed.
        """
        for _ in range(TRIES):
            plan = plan_retry(self._get(run), now=_now())
            for pod in self.api.list(POD, f"{_RUN_LABEL}={run}"):
                if (pod["metadata"].get("annotations") or {}).get(NODE_ANNOTATION) in plan.pods:
                    self.api.delete(POD, str(pod["metadata"]["name"]))
            if self.api.replace(WORKFLOW, plan.workflow):
                return
        raise _busy(run)

    def resume(self, run: str, *, by: str, why: str = "") -> str:
        """Answer the step that the run waits at, so that the run goes on and requests its rollout.

        Raises:
            StateError: The run waits for no answer.
        """
        for _ in range(TRIES):
            message = f"answered by {by}" + (f": {why}" if why else "")
            changed, step = plan_answer(self._get(run), {"Output": by, "why": why}, message=message, now=_now())
            if self.api.replace(WORKFLOW, changed):
                return step
        raise _busy(run)

    def list(self, limit: int = 20) -> tuple[RunSummary, ...]:
        """Return the last runs of the project in the namespace, newest first."""
        found = self.api.list(WORKFLOW, self._selector)
        newest = sorted(found, key=lambda each: str(each["metadata"]["creationTimestamp"]), reverse=True)
        return tuple(self._describe(workflow).summary for workflow in newest[:limit])

    def schedule_apply(self, plan: SchedulePlan) -> str:
        """Create or change the project's CronWorkflow with server-side apply."""
        graph = self.pipeline(plan.pipeline)
        check_arguments(graph, plan.arguments)
        name = schedule_name(self.project.settings.project.name)
        before = self.api.get(CRON, name)
        paused = bool(before and before["spec"].get("suspend"))
        compiled = self._compile(plan.pipeline, "CronWorkflow", name)
        document = plan_cron(compiled, plan, plan_arguments(graph, plan.arguments), paused=paused)
        return _compare(before, self.api.apply(CRON, document, force=True))

    def schedule_list(self) -> tuple[ScheduleStatus, ...]:
        """Return the project's CronWorkflow."""
        found = self.api.list(CRON, self._selector)
        return tuple(describe_cron(cron, now=time.time()) for cron in found)

    def schedule_pause(self, *, paused: bool) -> str:
        """Suspend the CronWorkflow, or let it start runs again.

        Raises:
            StateError: The project has no schedule.
        """
        name = schedule_name(self.project.settings.project.name)
        found = self.api.get(CRON, name)
        if found is None:
            raise StateError(
                f"namespace {self.api.namespace} has no schedule {name}", hint="Create it with `sluice schedule apply`."
            )
        if bool(found["spec"].get("suspend")) == paused:
            return "unchanged"
        # The whole object is applied again, because a merge patch would make a second field manager that conflicts with this one.
        kept = {key: found["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in found["metadata"]}
        kept["annotations"] = {
            key: text for key, text in kept.get("annotations", {}).items() if "cronworkflows.argoproj.io" not in key
        }
        body = {
            "apiVersion": found["apiVersion"],
            "kind": found["kind"],
            "metadata": kept,
            "spec": found["spec"] | {"suspend": paused},
        }
        self.api.apply(CRON, body, force=True)
        return "changed"

    def schedule_remove(self) -> str:
        """Delete the CronWorkflow. Its runs stay, because Kubernetes is told to orphan them, and it is gone when this returns.

        Raises:
            ServiceError: Kubernetes has not deleted it within 30 seconds.
        """
        name = schedule_name(self.project.settings.project.name)
        if not self.api.delete(CRON, name, orphan=True):
            return "unchanged"
        deadline = time.monotonic() + DELETION_SECONDS
        while self.api.get(CRON, name) is not None:
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"the schedule {name} is marked as deleted, but it still exists after {DELETION_SECONDS:.0f} s",
                    hint="The controller manager of the cluster deletes it, after it has orphaned its runs. Check that it runs.",
                )
            time.sleep(POLL_SECONDS)
        return "removed"


def _compare(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    """Return what an apply did: ``created``, ``changed`` or ``unchanged``."""
    if before is None:
        return "created"

    def wanted(found: Mapping[str, Any]) -> tuple[Any, ...]:
        metadata = found["metadata"]
        return found.get("spec"), metadata.get("labels"), metadata.get("annotations")

    return "unchanged" if wanted(before) == wanted(after) else "changed"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _busy(run: str) -> StateError:
    return StateError(f"Argo's controller changed run {run} {TRIES} times at the same moment", hint="Run the command again.")


def open_argo(project: Project, *, applies: bool = True) -> ArgoEngine:
    """Return the engine with the credentials that the settings name.

    Args:
        project: The project.
        applies: Whether `submit` applies the WorkflowTemplate first.

    Raises:
        ConfigurationError: The settings name no usable server.
        ServiceError: There are no credentials.
    """
    if project.settings.argo.token_file and not project.settings.argo.server:
        raise ConfigurationError(
            "argo.token_file is set, but argo.server is not", hint="Set argo.server to the URL of the API server."
        )
    return ArgoEngine(project, connect(project.settings.argo), applies=applies)
