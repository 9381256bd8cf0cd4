"""Runs of compiled pipelines on Argo: submit, wait, and what each step gave."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from argo_cluster import GROUP, LABEL, VERSION
from kubernetes.client.exceptions import ApiException

from sluice.argo.compilation import Options
from sluice.argo.expressions.artifact_store import Store
from sluice.argo.expressions.wire_json import from_wire
from sluice.argo.objects.workflows import lower_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from argo_cluster import Cluster

    from sluice.ir.graph import Pipeline

LOG, PHASE, ATTEMPTS = "log:", "phase:", "attempts:"
"""What may be said of a step beside its outputs: whole lines of its log, how it ended, how often it was tried."""

_ENDED = {"Succeeded", "Failed", "Error"}
_INDEX = re.compile(r"\((\d+):.*?\)(?=\.|$)", re.DOTALL)
_ATTEMPT = re.compile(r"\(\d+\)(?=\.|$)")
_LIMITED = re.compile(r"(^|\.)([a-z0-9-]+)\.\2\[")
_NO_IMAGE = re.compile("ImagePullBackOff|ErrImagePull|InvalidImageName")


@dataclass(frozen=True)
class Raw:
    """The text that a container without Python wrote as its output; Argo drops one newline at its end."""

    text: str


@dataclass
class Run:
    """A run that ended, or that could not go on.

    Attributes:
        cluster: Where it ran.
        name: Its name.
        status: Argo's status of it.
    """

    cluster: Cluster
    name: str
    status: dict[str, Any]
    missing_image: str = ""

    @property
    def phase(self) -> str:
        """How it ended."""
        return str(self.status.get("phase", "Pending"))

    @cached_property
    def nodes(self) -> list[dict[str, Any]]:
        """Argo's nodes; a large status is compressed."""
        packed = self.status.get("compressedNodes")
        nodes = json.loads(gzip.decompress(base64.b64decode(packed))) if packed else self.status.get("nodes") or {}
        return list(nodes.values())

    def path(self, node: dict[str, Any]) -> str:
        """A node's place: task names from the outermost DAG inwards, ``for-loop-1[0].add``; a retried step has one path."""
        path = _INDEX.sub(r"[\1]", node["name"].removeprefix(self.name).removeprefix("."))
        return _LIMITED.sub(r"\1\2[", _ATTEMPT.sub("", path))

    @cached_property
    def steps(self) -> dict[str, list[dict[str, Any]]]:
        """Path of each step that had a pod → its pods' nodes, one for each attempt."""
        found: dict[str, list[dict[str, Any]]] = {}
        for node in self.nodes:
            if node["type"] == "Pod" and not (node.get("memoizationStatus") or {}).get("hit"):
                found.setdefault(self.path(node), []).append(node)
        return found

    @property
    def pods(self) -> int:
        """How many pods it had."""
        return sum(map(len, self.steps.values()))

    def text(self, path: str, output: str) -> str:
        """An output of a step as Argo has it."""
        entries = self._last(path).get("outputs", {}).get("parameters") or []
        values = {entry["name"]: entry.get("value", "") for entry in entries}
        assert output in values, f"{path} has no output {output!r}, only {sorted(values)}"
        return str(values[output])

    def value(self, path: str, output: str) -> Any:
        """An output of a step."""
        return from_wire(self.text(path, output))

    @property
    def given(self) -> dict[str, Any]:
        """The pipeline's own outputs."""
        root = next(node for node in self.nodes if node["name"] == self.name)
        entries = root.get("outputs", {}).get("parameters") or []
        return {entry["name"]: from_wire(entry["value"]) for entry in entries}

    def ended(self, path: str) -> str:
        """How a step's last attempt ended."""
        return str(self._last(path)["phase"])

    def span(self, path: str) -> tuple[str, str]:
        """When a step started and finished."""
        pods = self.steps[path]
        return min(node["startedAt"] for node in pods), max(node["finishedAt"] for node in pods)

    def _last(self, path: str) -> dict[str, Any]:
        assert path in self.steps, f"{path} had no pod; these had: {sorted(self.steps)}"
        return max(self.steps[path], key=lambda node: node["name"])

    def log(self, path: str) -> str:
        """What a step's own container printed in its last attempt."""
        return self._log(self._pod(self._last(path)))

    def resources(self, path: str) -> dict[str, Any]:
        """The resources of a step's own container."""
        pod = self.cluster.core.read_namespaced_pod(self._pod(self._last(path)), self.cluster.namespace)
        return dict(next(each for each in pod.spec.containers if each.name == "main").resources.to_dict())

    def _pod(self, node: dict[str, Any]) -> str:
        # Argo's pod names, version 2: workflow, template, hash of the node's name, which the id ends with.
        template = node.get("templateName") or (node.get("templateRef") or {}).get("template", "")
        prefix = f"{self.name}-{template}"
        return f"{prefix[:241]}-{node['id'].rpartition('-')[2]}"

    def _log(self, pod: str) -> str:
        for _ in range(3):
            try:
                answer = self.cluster.core.read_namespaced_pod_log(
                    pod, self.cluster.namespace, container="main", _preload_content=False
                )
            except ApiException as error:
                if error.status != 404:
                    time.sleep(1)
                    continue
                raise
            return str(answer.data.decode("utf-8", "replace"))
        return ""

    def story(self) -> str:
        """What went wrong, for a person."""
        told = [f"{self.name}: {self.phase} {self.status.get('message', '')}"]
        for node in self.nodes:
            if node["phase"] not in {"Succeeded", "Skipped", "Omitted"}:
                told.append(f"  {node['name'][:200]} {node['type']} {node['phase']} {node.get('message', '')[:300]}")
                if node["type"] == "Pod" and node["phase"] == "Failed":
                    told += [f"    | {line}" for line in self._log(self._pod(node)).splitlines()[-12:]]
        return "\n".join(told)


@dataclass(frozen=True)
class Case:
    """A pipeline, and what a run of it must give.

    Attributes:
        name: What the test is called: the file below the conformance folder, or a pipeline's name.
        steps: Path of each step that has a pod → output → expected value, or a function that checks it; `LOG`, `PHASE` and
            `ATTEMPTS` beside them. None where the steps depend on chance: then `check` says what holds.
        arguments: What is submitted; functions are given the cluster.
        gives: The pipeline's own outputs.
        phase: How the run ends.
        check: What else holds of the run.
        image: An image that only some registries have: the test is skipped where it cannot be pulled.
        options: Options of the compiler.
        replace: Texts of the IR that are replaced before it is compiled, with a reason beside them.
    """

    name: str
    steps: dict[str, dict[str, Any]] | None
    arguments: dict[str, str | Callable[[Cluster], str]] = field(default_factory=dict)
    gives: dict[str, Any] = field(default_factory=dict)
    phase: str = "Succeeded"
    check: Callable[[Run], None] | None = None
    image: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    replace: tuple[tuple[str, str], ...] = ()
    variant: str = ""

    def __str__(self) -> str:
        return self.name.removesuffix(".yaml") + (f" {self.variant}" if self.variant else "")

    def judge(self, run: Run) -> None:
        """Compare a run with what is expected."""
        assert run.phase == self.phase, run.story()
        if self.steps is not None:
            assert sorted(run.steps) == sorted(self.steps), run.story()
            assert run.pods == sum(step.get(ATTEMPTS, 1) for step in self.steps.values()), "one pod for each attempt of a step"
        for path, step in (self.steps or {}).items():
            _judge_step(run, path, step)
        for output, expected in self.gives.items():
            _judge_value(run.given.get(output), expected, f"the pipeline's output {output}")
        if self.check:
            self.check(run)


def _judge_step(run: Run, path: str, step: dict[str, Any]) -> None:
    assert run.ended(path) == step.get(PHASE, "Succeeded"), run.story()
    lines = step.get(LOG, ())
    if lines:
        log = run.log(path)
        for line in (lines,) if isinstance(lines, str) else lines:
            assert line in log.splitlines(), f"{path} printed no line {line!r}:\n{log[-2000:]}"
    for output, expected in step.items():
        if output in {LOG, PHASE, ATTEMPTS}:
            continue
        if isinstance(expected, Raw):
            text = run.text(path, output)
            assert text == expected.text, f"{path}, {output}: {text!r} is not {expected.text!r}"
        else:
            _judge_value(run.value(path, output), expected, f"{path}, {output}")


def _judge_value(value: Any, expected: Any, what: str) -> None:
    if callable(expected):
        assert expected(value), f"{what}: {value!r}"
    else:
        assert same(value, expected), f"{what}: {value!r} is not {expected!r}"


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal in type and content: 3 is not 3.0, NaN is NaN."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def artifact(schema: str = "", **metadata: Any) -> Callable[[Any], bool]:
    """A check of an artifact: its type, and that its metadata is exactly this (a function checks one entry)."""

    def holds(value: Any) -> bool:
        found = value["metadata"]
        return (
            (not schema or value["type"]["schemaTitle"] == f"system.{schema}")
            and found.keys() == metadata.keys()
            and all(want(found[key]) if callable(want) else same(found[key], want) for key, want in metadata.items())
        )

    return holds


def compile_pipeline(pipeline: Pipeline, cluster: Cluster, **options: Any) -> dict[str, Any]:
    """A pipeline as an Argo object for this cluster.

    A step's cache is off unless it is asked for, so that the number of pods does not depend on earlier runs.
    """
    settings: dict[str, Any] = {"cache": False, "service_account": cluster.account} | options
    if settings.pop("in_bucket", False):
        settings["store"] = Store(root=f"s3://{cluster.repository['s3']['bucket']}")
    settings["labels"] = ((LABEL, cluster.session), *settings.get("labels", ()))
    document, refusals = lower_pipeline(pipeline, Options(**settings))
    assert not refusals.found, refusals.found
    return document


def submit(cluster: Cluster, document: dict[str, Any], arguments: dict[str, str] | None = None) -> str:
    """Create a Workflow; gives its name."""
    if arguments:
        known = {entry["name"]: entry for entry in document["spec"].get("arguments", {}).get("parameters", [])}
        assert arguments.keys() <= known.keys(), f"the pipeline takes {sorted(known)}"
        for name, value in arguments.items():
            known[name]["value"] = value
    made = cluster.custom.create_namespaced_custom_object(GROUP, VERSION, cluster.namespace, "workflows", document)
    return str(made["metadata"]["name"])


def wait(cluster: Cluster, name: str, *, timeout: float, every: float = 2.0) -> Run:
    """Wait until a run ended, or until it is clear that it will not: no image, or Argo did not begin within two minutes."""
    begun = time.monotonic()
    while True:
        found = cluster.custom.get_namespaced_custom_object(GROUP, VERSION, cluster.namespace, "workflows", name)
        run = Run(cluster, name, found.get("status") or {})
        if run.phase in _ENDED:
            return run
        run.missing_image = next((n["message"] for n in run.nodes if _NO_IMAGE.search(n.get("message", ""))), "")
        patience = 60 if run.missing_image else timeout if run.status else 120
        if time.monotonic() > begun + patience:
            cluster.custom.delete_namespaced_custom_object(GROUP, VERSION, cluster.namespace, "workflows", name)
            return run
        time.sleep(every)
