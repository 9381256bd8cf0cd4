"""The engine `kfp`: pipelines, versions, runs and a recurring run, through the KFP API alone."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from sluice.engines.arguments import check_arguments, check_run_id
from sluice.engines.kfp.connection import PAGE, calling, connect, ui_url_of
from sluice.engines.kfp.logs import join_logs
from sluice.engines.kfp.metadata_store import match_executions
from sluice.engines.kfp.recorded_runs import RecordedRuns
from sluice.engines.kfp.run_statuses import describe_run, find_nodes
from sluice.engines.kfp.schedules import RecurringRuns, check_plan, describe_plan, describe_recurring, find_last_start
from sluice.engines.kfp.task_nodes import read_tasks
from sluice.engines.kfp.token_secrets import add_secrets
from sluice.engines.kfp.versions import Target, Version, find_version, named_filter, upload
from sluice.engines.outcomes import explain_failure, find_failed
from sluice.engines.reconnection import Patience, UnreachableError
from sluice.engines.results.rebuilding import rebuild_result
from sluice.engines.sources import check_pipeline, find_warnings, read_source
from sluice.errors import DataError, SluiceError, StateError, UnsupportedError, UsageError
from sluice.ir.lint import find_unsupported_by_kfp
from sluice.ir.reading import parse_ir

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from sluice.engines import RunStatus, RunSummary, SchedulePlan, ScheduleStatus, StepStatus
    from sluice.engines.kfp.metadata_store import Execution
    from sluice.engines.kfp.task_nodes import Task, TaskNode
    from sluice.ir.graph import Pipeline
    from sluice.project.projects import Project
    from sluice.report.results import RunResult

    Found = list[dict[str, Any]]

NAME = "kfp"
POLL_SECONDS = 2.0
"""Pause between two looks at a run. KFP's API has no watch."""

_DIGITS = 12


@dataclass(slots=True)
class KfpEngine:
    """Run pipelines of one project on Kubeflow Pipelines."""

    project: Project
    client: Any
    _versions: dict[str, Version] = field(default_factory=dict)
    _tasks: dict[str, tuple[str, tuple[Task, ...]]] = field(default_factory=dict)
    _waiting: dict[str, tuple[tuple[StepStatus, ...], list[Execution] | None]] = field(default_factory=dict)
    _records: RecordedRuns = field(init=False)

    def __post_init__(self) -> None:
        self._records = RecordedRuns(self.client, self.project.settings.kfp)

    @property
    def name(self) -> str:
        """The name of the engine."""
        return NAME

    @property
    def resume_approves(self) -> bool:
        """No: `resume` refuses."""
        return False

    @property
    def _prefix(self) -> str:
        return self.project.settings.project.name

    def _read(self, pipeline: str) -> tuple[str, Pipeline]:
        check_pipeline(self.project, pipeline)
        text, graph = read_source(pipeline, self.project)
        text = add_secrets(text, graph, self.project.settings.kfp)
        find_warnings(pipeline, graph)
        if refused := find_unsupported_by_kfp(graph):
            first = refused[0]
            raise UnsupportedError(f"KFP cannot run {first.task}, {first.field}: {first.reason}", hint=first.hint)
        return text, graph

    def prepare(self, pipeline: str, *, force: bool = False, dry_run: bool = False) -> str:
        """Upload the pipeline, or a new version of it, if KFP does not have this IR yet.

        The name of a version contains the digest of its IR, so the same IR is uploaded once.
        """
        del force  # nobody else owns a version of this name
        text, _ = self._read(pipeline)
        digest = hashlib.sha256(text.encode()).hexdigest()
        named = f"{self._prefix}-{pipeline}"
        version_name = f"{named}-{digest[:_DIGITS]}"
        with calling(self.client, f"read the pipeline {named}"):
            found = self.client.get_pipeline_id(named)
            known = find_version(self.client, found, version_name) if found else None
        if known:
            self._versions[pipeline] = known
            return f"version {version_name} of the pipeline {named}: unchanged"
        if not dry_run:
            target = Target(named, version_name, found or "", self.project.settings.kfp.namespace)
            with calling(self.client, f"upload the pipeline {named}"):
                self._versions[pipeline] = upload(self.client, text, target)
        return f"version {version_name} of the pipeline {named}: {'changed' if found else 'created'}"

    def _experiment(self) -> str:
        settings = self.project.settings.kfp
        with calling(self.client, "create the experiment"):
            made = self.client.create_experiment(settings.experiment or self._prefix, namespace=settings.namespace or None)
        return str(made.experiment_id)

    def submit(self, pipeline: str, arguments: Mapping[str, Any], *, key: str = "") -> str:
        """Start a run of the pipeline's present version in the project's experiment.

        With a key, the run's name is derived from it, and a run of this name is looked for first. KFP does not refuse a second
        run of the same name, so two processes that submit the same key in the same second may start two runs.
        """
        _, graph = self._read(pipeline)
        check_arguments(graph, arguments)
        check_no_templates(arguments)
        if pipeline not in self._versions:
            self.prepare(pipeline)
        version, experiment = self._versions[pipeline], self._experiment()
        name = f"{self._prefix}-{pipeline}-{_shorten_key(key) if key else time.strftime('%Y%m%d-%H%M%S')}"
        if key and (known := self._find_run(experiment, name)):
            return known
        settings = self.project.settings.kfp
        with calling(self.client, "start a run"):
            made = self.client.run_pipeline(
                experiment,
                name,
                params=dict(arguments),
                pipeline_id=version.pipeline_id,
                version_id=version.version_id,
                pipeline_root=settings.pipeline_root or None,
                service_account=settings.service_account or None,
            )
        return str(made.run_id)

    def _find_run(self, experiment: str, name: str) -> str:
        with calling(self.client, "list runs"):
            answer = self.client.list_runs(experiment_id=experiment, page_size=PAGE, filter=named_filter(name))
        return str(answer.runs[0].run_id) if answer.runs else ""

    def read(self, run: str) -> RunStatus:
        """Return the run as it is now. If it failed, the log of the failed step says its exit code."""
        found = self._get(run)
        nodes = self._nodes(found)
        return self._explain(found, nodes, self._executions(found, nodes))

    def _executions(self, run: Mapping[str, Any], nodes: Sequence[TaskNode]) -> list[Execution] | None:
        """Return what ML Metadata knows about a run that has ended or that waits; None about a run that goes on.

        A run may wait for days while a person watches it, so ML Metadata is asked again only when a step of it has changed.
        """
        plain = self._describe(run, nodes)
        if plain.summary.outcome != "waiting":
            return self._records.executions(run)
        known = self._waiting.get(plain.summary.id)
        if known is None or known[0] != plain.steps:
            known = self._waiting[plain.summary.id] = plain.steps, self._records.executions(run, always=True)
        return known[1]

    def result(self, run: str) -> RunResult:
        """Return what the steps recorded. The records are artifacts, which KFP's user interface serves."""
        found = self._get(run)
        nodes, executions = self._nodes(found), self._records.executions(found, always=True)
        status = self._explain(found, nodes, executions)
        return rebuild_result(status, tuple(self._records.read(run, status, executions, {each.node.id: each for each in nodes})))

    def _explain(self, run: Mapping[str, Any], nodes: Sequence[TaskNode], executions: list[Execution] | None) -> RunStatus:
        status = self._describe(run, nodes, executions=executions)
        failed = find_failed(status)
        if failed is None:
            return status
        try:
            node = next(each for each in nodes if each.node.id == failed.id)
            places = match_executions(status.steps, executions or ())
            lines = self._records.log(str(run["run_id"]), node, places.get(failed.id))
        except SluiceError:  # its pod was deleted, so the exit code stays unknown
            return status
        return explain_failure(self._describe(run, nodes, logs={failed.id: "\n".join(lines)}, executions=executions), lines)

    def _nodes(self, run: Mapping[str, Any]) -> list[TaskNode]:
        return find_nodes(run, self._pipeline_of(run)[1])

    def _get(self, run: str) -> dict[str, Any]:
        check_run_id(run, NAME)
        with calling(self.client, f"read run {run}"):
            found: dict[str, Any] = self.client.get_run(run).to_dict()
        return found

    def _look(self, run: str) -> RunStatus:
        """Return the run as the API alone describes it."""
        found = self._get(run)
        return self._describe(found, self._nodes(found))

    def _describe(
        self,
        run: Mapping[str, Any],
        nodes: Sequence[TaskNode],
        *,
        logs: Mapping[str, str] | None = None,
        executions: list[Execution] | None = None,
    ) -> RunStatus:
        pipeline, tasks = self._pipeline_of(run)
        ui_url = ui_url_of(self.client, self.project.settings.kfp)
        known = executions or ()
        return describe_run(run, tasks, nodes, pipeline=pipeline, ui_url=ui_url, now=time.time(), logs=logs, executions=known)

    def _pipeline_of(self, run: Mapping[str, Any]) -> tuple[str, tuple[Task, ...]]:
        """Return the name and the tasks of a run's pipeline. They are read from its version once."""
        reference = run.get("pipeline_version_reference") or {}
        pipeline_id, version_id = reference.get("pipeline_id"), reference.get("pipeline_version_id")
        if not (pipeline_id and version_id):
            return str(run.get("display_name") or ""), ()
        if version_id not in self._tasks:
            with calling(self.client, "read the run's pipeline"):
                named = str(self.client.get_pipeline(pipeline_id).display_name)
                spec = self.client.get_pipeline_version(pipeline_id, version_id).pipeline_spec
            name = named.removeprefix(f"{self._prefix}-")
            spec = spec.get("pipeline_spec", spec)  # KFP wraps it if there are settings of the platform
            graph = parse_ir(json.dumps(spec), source=f"version {version_id}")
            self._tasks[version_id] = (name, read_tasks(graph))
        return self._tasks[version_id]

    def watch(self, run: str) -> Generator[RunStatus]:
        """Yield the run each time that a look at it shows a change. Leaving the iterator does not end the run."""
        seen: Any = None
        patience = Patience()
        while True:
            try:
                status = self.read(run)
            except UnreachableError as error:
                patience.wait(error)
                continue
            patience.answered()
            shown = (status.summary.outcome, status.steps)
            if shown != seen:
                yield status
                seen = shown
            if status.ended:
                return
            time.sleep(POLL_SECONDS)

    def logs(self, run: str, step: str = "") -> Iterator[str]:
        """Yield the lines that a step's pod printed, those of KFP's launcher among them; without a step, those of all steps.

        Raises:
            DataError: There is no such step, or its pod was deleted and KFP has no archive of logs.
        """
        found = self._get(run)
        nodes, executions = self._nodes(found), self._records.executions(found, always=True) or ()
        places = match_executions(self._describe(found, nodes).steps, executions)
        ran = [each for each in nodes if each.pods() or each.cached]
        chosen = [each for each in ran if step in {"", each.task.name}]
        if step and not chosen:
            names = ", ".join(dict.fromkeys(each.task.name for each in ran))
            raise DataError(f"run {run} has no step {step!r} that ran", hint=f"Its steps are: {names or 'none'}.")
        logs = [(one.task.name, partial(self._records.log, run, one, places.get(one.node.id))) for one in chosen]
        return join_logs(logs, named=not step or len(logs) > 1)

    def cancel(self, run: str) -> None:
        """Terminate the run."""
        if not self._look(run).ended:
            with calling(self.client, f"end run {run}"):
                self.client.terminate_run(run)

    def retry(self, run: str) -> None:
        """Run a failed run again from the steps that failed.

        Raises:
            StateError: The run has not failed.
        """
        if (outcome := self._look(run)).ended is False or outcome.exit_code == 0:
            raise StateError(
                f"run {run} is {outcome.summary.outcome}, and only a failed run can be retried",
                hint=f"`sluice runs show {run}` shows it.",
            )
        with calling(self.client, f"retry run {run}"):
            self.client._run_api.run_service_retry_run(run)  # noqa: SLF001 - not in kfp.Client

    def resume(self, run: str, *, by: str, why: str = "") -> str:
        """Refuse: on KFP the approval step waits for the approval of its release.

        Raises:
            UsageError: No run has such an id.
            UnsupportedError: In all other cases.
        """
        del by, why
        check_run_id(run, NAME)
        raise UnsupportedError(
            f"KFP cannot answer a step of run {run}",
            hint="Approve the release: `sluice rollout approve RELEASE`. The step sees it.",
        )

    def list(self, limit: int = 20) -> tuple[RunSummary, ...]:
        """Return the last runs of the project's experiment, newest first."""
        found = self._list_runs(min(limit, PAGE))
        pairs = [(run, self._nodes(run)) for run in found]
        return tuple(self._describe(run, nodes, executions=self._executions(run, nodes)).summary for run, nodes in pairs)

    def _list_runs(self, limit: int) -> Found:
        settings = self.project.settings.kfp
        try:
            with calling(self.client, "list runs"):
                experiment = self.client.get_experiment(
                    experiment_name=settings.experiment or self._prefix, namespace=settings.namespace or None
                )
                answer = self.client.list_runs(page_size=limit, sort_by="created_at desc", experiment_id=experiment.experiment_id)
        except ValueError:  # kfp's error if there is no such experiment
            return []
        return [run.to_dict() for run in answer.runs or ()]

    @property
    def _recurring(self) -> RecurringRuns:
        return RecurringRuns(self.client, self.project.settings.kfp, f"{self._prefix}-schedule")

    def schedule_apply(self, plan: SchedulePlan) -> str:
        """Create the recurring run, or replace it, because KFP cannot change one. A run that it started goes on."""
        check_plan(plan, timezone=self.project.settings.kfp.timezone)
        _, graph = self._read(plan.pipeline)
        check_arguments(graph, plan.arguments)
        check_no_templates(plan.arguments)
        self.prepare(plan.pipeline)
        version, recurring = self._versions[plan.pipeline], self._recurring
        known, runs = recurring.list(), self._list_runs(PAGE)
        description = describe_plan(plan, version.name)
        changed = not known or known[0].get("description") != description
        if changed:
            recurring.replace(known, plan, version, self._experiment())
        recurring.clean_up(known if changed else known[1:], runs)
        return ("changed" if known else "created") if changed else "unchanged"

    def schedule_list(self) -> tuple[ScheduleStatus, ...]:
        """Return the project's recurring run, with the start of its last run among the last hundred runs of the experiment."""
        found = self._recurring.list()[:1]
        runs = self._list_runs(PAGE) if found else []
        return tuple(
            describe_recurring(each, last=find_last_start(runs, each["recurring_run_id"]), now=time.time()) for each in found
        )

    def schedule_pause(self, *, paused: bool) -> str:
        """Disable or enable the recurring run.

        Raises:
            StateError: The project has no schedule.
        """
        return self._recurring.switch(paused=paused)

    def schedule_remove(self) -> str:
        """Delete the recurring run.

        Raises:
            StateError: One of its runs goes on, and KFP would delete that too.
        """
        return self._recurring.remove(self._list_runs(PAGE))


def _shorten_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:_DIGITS]


def check_no_templates(arguments: Mapping[str, Any]) -> None:
    """Check that no argument contains ``{{``: KFP's backend passes arguments through Argo, which takes it for a template.

    Raises:
        UsageError: One does.
    """
    for name, value in arguments.items():
        if "{{" in json.dumps(value):
            raise UsageError(
                f"the value of {name} contains '{{{{', which the Argo below KFP takes for a template of its own",
                hint="Give a value without two opening braces.",
            )


def open_kfp(project: Project) -> KfpEngine:
    """Return the engine with the connection that the settings and kfp's environment variables name.

    Raises:
        ServiceError: No endpoint is known.
    """
    return KfpEngine(project, connect(project.settings.kfp))
