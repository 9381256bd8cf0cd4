"""The records of the steps of a run on KFP: from artifacts, and from the log of a step that failed.

KFP's user interface serves both ML Metadata, which knows the places of the artifacts, and the artifacts themselves. If it cannot
read an object, the object store is asked directly with the keys of AWS's usual environment variables.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.carried_records import RECORD, find_printed_record
from sluice.engines.kfp.connection import calling, ui_url_of
from sluice.engines.kfp.logs import read_log
from sluice.engines.kfp.metadata_store import SECONDS, Execution, StoredArtifact, match_executions, read_executions
from sluice.engines.results.object_stores import ObjectReader, Store
from sluice.engines.results.rebuilding import STARTED, StepRecord
from sluice.errors import SluiceError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sluice.engines import RunStatus, StepStatus
    from sluice.engines.kfp.task_nodes import TaskNode
    from sluice.project.tables.pipelines.kfp import KfpTable

LOG = "executor-logs"
"""Output artifact with the log of a step, which KFP keeps of failed steps too (PUBLISH_LOGS of its API server)."""

ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED"})
"""States of a run that has ended. A run that goes on is looked at every two seconds, so ML Metadata is then asked on demand."""

_SOURCES = {"minio": "minio", "s3": "s3", "gs": "gcs"}
_ADVICE = "Set kfp.ui_url to the URL of KFP's user interface, because its web server leads to ML Metadata and to the artifacts."


@dataclass(slots=True)
class RecordedRuns:
    """Reads the records of runs.

    Attributes:
        client: The ``kfp.Client``.
        table: The settings.
        problem: Why ML Metadata cannot be read; empty if nothing is known against it. It is asked once in vain.
    """

    client: Any
    table: KfpTable
    problem: str = ""
    _reader: ObjectReader = field(default_factory=ObjectReader)

    @property
    def _host(self) -> str:
        return ui_url_of(self.client, self.table)

    def executions(self, run: Mapping[str, Any], *, always: bool = False) -> list[Execution] | None:
        """Return what ML Metadata knows about the steps of a run; None if the run has not ended, or it cannot be read.

        Args:
            run: The answer of the API about the run, as plain JSON types.
            always: Whether to ask also about a run that has not ended.
        """
        if self.problem or not (always or run.get("state") in ENDED):
            return None
        try:
            return read_executions(self.client, self._host, str(run["run_id"]))
        except SluiceError as error:
            self.problem = f"{error.message}. {_ADVICE}"
            return None

    def log(self, run: str, found: TaskNode, execution: Execution | None) -> list[str]:
        """Return the lines that a step printed: those that KFP has kept, or else those of its pod.

        Args:
            run: Id of the run.
            found: The step and its node.
            execution: What ML Metadata knows about it; None if nothing.

        Raises:
            DataError: The step has had no pod, or the pod was deleted and KFP has kept no log.
        """
        if execution and LOG in execution.artifacts and not found.cached:
            with contextlib.suppress(SluiceError):
                return self._fetch(execution.artifacts[LOG]).decode("utf-8", "replace").splitlines()
        return read_log(self.client, run, found, pod=execution.pod if execution else "")

    def read(
        self, run: str, status: RunStatus, executions: Sequence[Execution] | None, nodes: Mapping[str, TaskNode]
    ) -> Iterator[StepRecord]:
        """Yield the records of the steps of a run.

        Args:
            run: Id of the run.
            status: The run.
            executions: What `executions` returned.
            nodes: Id of each step → its node.
        """
        places = match_executions(status.steps, executions or ())
        for step in status.steps:
            if step.is_group or step.outcome not in STARTED:
                continue
            execution = places.get(step.id)
            if step.outcome == "fail":
                yield self._read_failed(run, nodes[step.id], execution)
            elif execution is None:
                unknown = "ML Metadata was not asked" if executions is None else "ML Metadata has no execution of it"
                yield StepRecord(step=step.id, problem=self.problem or unknown)
            elif artifact := execution.artifacts.get(RECORD):
                yield self._read_artifact(step, artifact)

    def _read_artifact(self, step: StepStatus, artifact: StoredArtifact) -> StepRecord:
        try:
            return StepRecord(step=step.id, text=self._fetch(artifact).decode("utf-8", "replace"))
        except SluiceError as error:
            return StepRecord(step=step.id, problem=f"{error.message}. {error.hint}".rstrip())

    def _read_failed(self, run: str, found: TaskNode, execution: Execution | None) -> StepRecord:
        """Return the record that a failed step printed, because KFP keeps no artifact of it but its log."""
        step = found.node.id
        try:
            text = find_printed_record(self.log(run, found, execution))
        except SluiceError as error:
            return StepRecord(step=step, problem=f"KFP keeps no artifact of a failed step, and {error.message}")
        problem = "" if text else "KFP keeps no artifact of a failed step, and its log has no record"
        return StepRecord(step=step, text=text, problem=problem)

    def _fetch(self, artifact: StoredArtifact) -> bytes:
        """Return the bytes of an artifact."""
        scheme, _, rest = artifact.uri.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme not in _SOURCES:
            raise UnsupportedError(f"the artifact {artifact.uri} is in a store that KFP's user interface does not read")
        query = {"source": _SOURCES[scheme], "bucket": bucket, "key": key, "providerInfo": artifact.session}
        query |= {"namespace": self.table.namespace}
        try:
            with calling(self.client, f"read {artifact.uri}", at=self._host):
                answer = self.client._run_api.api_client.call_api(  # noqa: SLF001 - kfp.Client has no method for artifacts
                    "/artifacts/get",
                    "GET",
                    query_params=[(name, value) for name, value in query.items() if value],
                    auth_settings=["Bearer"],
                    _preload_content=False,
                    _request_timeout=SECONDS,
                    _host=self._host,
                )
                return bytes(answer.data)
        except SluiceError:
            store = find_store(artifact)
            if store is None or not os.environ.get("AWS_ACCESS_KEY_ID"):
                raise
            return self._reader.read(store, key)


def find_store(artifact: StoredArtifact) -> Store | None:
    """Return the object store of an artifact as KFP's launcher knew it; None if it is not S3 or its server is unknown."""
    scheme, _, rest = artifact.uri.partition("://")
    try:
        found = json.loads(artifact.session).get("Params") or {}
    except (ValueError, AttributeError):
        return None
    given = str(found.get("endpoint") or "")
    if scheme not in {"minio", "s3"} or not given:
        return None
    plain, sign, address = given.rpartition("://")
    secure = plain == "https" if sign else str(found.get("disableSSL")).lower() != "true"
    return Store(
        driver="s3", bucket=rest.partition("/")[0], endpoint=address, secure=secure, region=str(found.get("region") or "")
    )
