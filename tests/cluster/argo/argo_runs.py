"""Run compiled pipelines on Argo, and compare the outputs of each step with the expected ones."""

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
"""Keys beside the outputs of a step in `Case.steps`: whole lines of its log, its final phase, and its number of attempts."""

_ENDED = {"Succeeded", "Failed", "Error"}
_INDEX = re.compile(r"\((\d+):.*?\)(?=\.|$)", re.DOTALL)
_ATTEMPT = re.compile(r"\(\d+\)(?=\.|$)")
_LIMITED = re.compile(r"(^|\.)([a-z0-9-]+)\.\2\[")
_NO_IMAGE = re.compile("ImagePullBackOff|ErrImagePull|InvalidImageName")


@dataclass(frozen=True)
class RawText:
    """The text that a container without Python wrote as its output, without the last newline, which Argo drops."""

    text: str


@dataclass
class Run:
    """A run that has ended, or that cannot end.

    Attributes:
        cluster: The cluster of the run.
        name: The name of the Workflow.
        status: The status of the Workflow.
        missing_image: Argo's message if an image cannot be pulled; empty if there is no such problem.
    """

    cluster: Cluster
    name: str
    status: dict[str, Any]
    missing_image: str = ""

    @property
    def phase(self) -> str:
        """The phase of the run."""
        return str(self.status.get("phase", "Pending"))

    @cached_property
    def nodes(self) -> list[dict[str, Any]]:
        """The nodes of the run. Argo compresses them if there are many."""
        packed = self.status.get("compressedNodes")
        nodes = json.loads(gzip.decompress(base64.b64decode(packed))) if packed else self.status.get("nodes") or {}
        return list(nodes.values())

    def path(self, node: dict[str, Any]) -> str:
        """Return a node's path: task names from the outermost DAG inwards, as in ``for-loop-1[0].add``.

        All attempts of a step have the same path.
        """
        path = _INDEX.sub(r"[\1]", node["name"].removeprefix(self.name).removeprefix("."))
        return _LIMITED.sub(r"\1\2[", _ATTEMPT.sub("", path))

    @cached_property
    def steps(self) -> dict[str, list[dict[str, Any]]]:
        """Path of each step that had a pod → the nodes of its pods, one for each attempt."""
        found: dict[str, list[dict[str, Any]]] = {}
        for node in self.nodes:
            if node["type"] == "Pod" and not (node.get("memoizationStatus") or {}).get("hit"):
                found.setdefault(self.path(node), []).append(node)
        return found

    @property
    def pods(self) -> int:
        """The number of pods of the run."""
        return sum(map(len, self.steps.values()))

    def text(self, path: str, output: str) -> str:
        """Return an output of a step as the text that Argo stores."""
        entries = self._last(path).get("outputs", {}).get("parameters") or []
        values = {entry["name"]: entry.get("value", "") for entry in entries}
        assert output in values, f"{path} has no output {output!r}, only {sorted(values)}"
        return str(values[output])

    def value(self, path: str, output: str) -> Any:
        """Return the value of an output of a step."""
        return from_wire(self.text(path, output))

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs of the pipeline itself."""
        root = next(node for node in self.nodes if node["name"] == self.name)
        entries = root.get("outputs", {}).get("parameters") or []
        return {entry["name"]: from_wire(entry["value"]) for entry in entries}

    def step_phase(self, path: str) -> str:
        """Return the phase of a step's last attempt."""
        return str(self._last(path)["phase"])

    def step_times(self, path: str) -> tuple[str, str]:
        """Return when a step's first attempt started and when its last one finished."""
        pods = self.steps[path]
        return min(node["startedAt"] for node in pods), max(node["finishedAt"] for node in pods)

    def _last(self, path: str) -> dict[str, Any]:
        assert path in self.steps, f"{path} had no pod. These steps had one: {sorted(self.steps)}"
        return max(self.steps[path], key=lambda node: node["name"])

    def log(self, path: str) -> str:
        """Return what a step's own container printed in its last attempt."""
        return self._log(self._pod(self._last(path)))

    def resources(self, path: str) -> dict[str, Any]:
        """Return the resources of a step's own container."""
        pod = self.cluster.core.read_namespaced_pod(self._pod(self._last(path)), self.cluster.namespace)
        return dict(next(each for each in pod.spec.containers if each.name == "main").resources.to_dict())

    def _pod(self, node: dict[str, Any]) -> str:
        # Version 2 of Argo's pod names: workflow, template, and the hash of the node's name. The node's id ends with this hash.
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

    def describe_problems(self) -> str:
        """Return the message of the run, its nodes that did not succeed, and the ends of their logs."""
        lines = [f"{self.name}: {self.phase} {self.status.get('message', '')}"]
        for node in self.nodes:
            if node["phase"] not in {"Succeeded", "Skipped", "Omitted"}:
                lines.append(f"  {node['name'][:200]} {node['type']} {node['phase']} {node.get('message', '')[:300]}")
                if node["type"] == "Pod" and node["phase"] == "Failed":
                    lines += [f"    | {line}" for line in self._log(self._pod(node)).splitlines()[-12:]]
        return "\n".join(lines)


@dataclass(frozen=True)
class Case:
    """A pipeline, and the expected results of a run.

    Attributes:
        name: The file below the conformance folder, or the name of a function in `local_pipelines`.
        steps: Path of each step that has a pod → output → expected value, or a function that checks the value. `LOG`, `PHASE` and
            `ATTEMPTS` are further keys. None if the steps depend on chance, so that `check` must examine them.
        arguments: The arguments of the run. A function gets the cluster and returns the argument.
        outputs: The expected outputs of the pipeline itself.
        phase: The expected final phase of the run.
        check: A function with further assertions about the run.
        image: An image that only some registries have. If it cannot be pulled, the test is skipped.
        options: Options of the compiler.
        replace: Texts of the IR and their replacements. A comment beside them gives the reason.
        variant: Distinguishes two cases of the same pipeline in the name of the test.
    """

    name: str
    steps: dict[str, dict[str, Any]] | None
    arguments: dict[str, str | Callable[[Cluster], str]] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    phase: str = "Succeeded"
    check: Callable[[Run], None] | None = None
    image: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    replace: tuple[tuple[str, str], ...] = ()
    variant: str = ""

    def __str__(self) -> str:
        return self.name.removesuffix(".yaml") + (f" {self.variant}" if self.variant else "")

    def verify(self, run: Run) -> None:
        """Compare a run with the expected results."""
        assert run.phase == self.phase, run.describe_problems()
        if self.steps is not None:
            assert sorted(run.steps) == sorted(self.steps), run.describe_problems()
            assert run.pods == sum(step.get(ATTEMPTS, 1) for step in self.steps.values()), (
                "there must be one pod for each attempt of a step"
            )
        for path, step in (self.steps or {}).items():
            _verify_step(run, path, step)
        for output, expected in self.outputs.items():
            _verify_value(run.outputs.get(output), expected, f"the pipeline's output {output}")
        if self.check:
            self.check(run)


def _verify_step(run: Run, path: str, step: dict[str, Any]) -> None:
    assert run.step_phase(path) == step.get(PHASE, "Succeeded"), run.describe_problems()
    lines = step.get(LOG, ())
    if lines:
        log = run.log(path)
        for line in (lines,) if isinstance(lines, str) else lines:
            assert line in log.splitlines(), f"{path} printed no line {line!r}:\n{log[-2000:]}"
    for output, expected in step.items():
        if output in {LOG, PHASE, ATTEMPTS}:
            continue
        if isinstance(expected, RawText):
            text = run.text(path, output)
            assert text == expected.text, f"{path}, {output}: {text!r} is not {expected.text!r}"
        else:
            _verify_value(run.value(path, output), expected, f"{path}, {output}")


def _verify_value(value: Any, expected: Any, what: str) -> None:
    if callable(expected):
        assert expected(value), f"{what}: {value!r}"
    else:
        assert is_equal(value, expected), f"{what}: {value!r} is not {expected!r}"


def is_equal(one: Any, other: Any) -> bool:
    """Return whether two values are equal in type and content. 3 does not equal 3.0, and NaN equals NaN."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def artifact(schema: str = "", **metadata: Any) -> Callable[[Any], bool]:
    """Return a check of an artifact's type and of its whole metadata. A function checks one entry of the metadata."""

    def holds(value: Any) -> bool:
        found = value["metadata"]
        return (
            (not schema or value["type"]["schemaTitle"] == f"system.{schema}")
            and found.keys() == metadata.keys()
            and all(want(found[key]) if callable(want) else is_equal(found[key], want) for key, want in metadata.items())
        )

    return holds


def compile_pipeline(pipeline: Pipeline, cluster: Cluster, **options: Any) -> dict[str, Any]:
    """Compile a pipeline to an Argo object for this cluster.

    The cache is off unless an option switches it on, so that the number of pods does not depend on earlier runs.
    """
    settings: dict[str, Any] = {"cache": False, "service_account": cluster.account} | options
    if settings.pop("store_in_bucket", False):
        settings["store"] = Store(root=f"s3://{cluster.repository['s3']['bucket']}")
    settings["labels"] = ((LABEL, cluster.session), *settings.get("labels", ()))
    document, refusals = lower_pipeline(pipeline, Options(**settings))
    assert not refusals.found, refusals.found
    return document


def submit(cluster: Cluster, document: dict[str, Any], arguments: dict[str, str] | None = None) -> str:
    """Create a Workflow, and return its name."""
    if arguments:
        known = {entry["name"]: entry for entry in document["spec"].get("arguments", {}).get("parameters", [])}
        assert arguments.keys() <= known.keys(), f"the pipeline has only the parameters {sorted(known)}"
        for name, value in arguments.items():
            known[name]["value"] = value
    made = cluster.custom.create_namespaced_custom_object(GROUP, VERSION, cluster.namespace, "workflows", document)
    return str(made["metadata"]["name"])


def wait(cluster: Cluster, name: str, *, timeout: float, every: float = 2.0) -> Run:
    """Wait until a run has ended, or until its time is over. In the second case, delete the Workflow.

    A run has 60 s if an image cannot be pulled, 120 s if Argo did not begin with it, and `timeout` seconds otherwise.
    """
    begun = time.monotonic()
    while True:
        found = cluster.custom.get_namespaced_custom_object(GROUP, VERSION, cluster.namespace, "workflows", name)
        run = Run(cluster, name, found.get("status") or {})
        if run.phase in _ENDED:
            return run
        run.missing_image = next((n["message"] for n in run.nodes if _NO_IMAGE.search(n.get("message", ""))), "")
        limit = 60 if run.missing_image else timeout if run.status else 120
        if time.monotonic() > begun + limit:
            cluster.custom.delete_namespaced_custom_object(GROUP, VERSION, cluster.namespace, "workflows", name)
            return run
        time.sleep(every)
