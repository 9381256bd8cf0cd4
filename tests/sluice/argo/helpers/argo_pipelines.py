"""Compile a test's pipeline with kfp, lower it to Argo, and find parts of the result by their names."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from argo_models import check_model
from argo_references import check_references, spec_of
from kfp.compiler import Compiler

from sluice.argo.compilation import Options
from sluice.argo.objects.workflows import lower_pipeline
from sluice.ir.graph import Component, Container, Dag, Pipeline, Unknown
from sluice.ir.reading import read_ir

if TYPE_CHECKING:
    from sluice.ir.lint import Finding

Raw = dict[str, Any]
KINDS = ("Workflow", "WorkflowTemplate", "CronWorkflow")


@dataclass(frozen=True)
class Lowered:
    """A lowered pipeline.

    Attributes:
        document: The Argo object.
        refusals: The refusals; empty if Argo can express the pipeline.
    """

    document: Raw
    refusals: tuple[Finding, ...]

    @property
    def spec(self) -> Raw:
        return spec_of(self.document)

    def template(self, name: str) -> Raw:
        return next(each for each in self.spec["templates"] if each["name"] == name)

    @property
    def entry(self) -> Raw:
        return self.template(self.spec["entrypoint"])

    def task(self, name: str, template: str = "") -> Raw:
        tasks = (self.template(template) if template else self.entry)["dag"]["tasks"]
        return _named(tasks, name)

    def inner(self, *path: str) -> Raw:
        """Return the template of a task. The path names the tasks from the outermost DAG inwards."""
        found = self.entry
        for name in path:
            found = self.template(_named(found["dag"]["tasks"], name)["template"])
        return found


def _named(tasks: list[Raw], name: str) -> Raw:
    """Return the task with a name. A name with ``*`` at its end is a prefix, because kfp chooses the numbers of its groups."""
    if not name.endswith("*"):
        return next(each for each in tasks if each["name"] == name)
    return next(each for each in tasks if each["name"].startswith(name[:-1]))


def lower(flow: Any, **options: Any) -> Lowered:
    """Compile a ``@dsl.pipeline`` with kfp, lower it, and check that the result is valid and consistent."""
    document, refusals = lower_pipeline(compile_flow(flow), Options(**options))
    found = Lowered(document, tuple(refusals.found))
    if not found.refusals:
        check_model(document)
        check_references(document)
    return found


@cache
def compile_flow(flow: Any) -> Pipeline:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        Compiler().compile(flow, str(file))
        return read_ir(file)


def arguments(task: Raw) -> dict[str, str]:
    return {each["name"]: each["value"] for each in task.get("arguments", {}).get("parameters", ())}


def outputs(template: Raw) -> dict[str, Raw]:
    return {each["name"]: each["valueFrom"] for each in template.get("outputs", {}).get("parameters", ())}


def launcher_input(template: Raw) -> Raw:
    """Return the launcher's argument INPUT. Every tag in it becomes a text ``<expression>``."""
    text = template["container"]["args"][0]
    return parse_with_tags(text)


def parse_with_tags(text: str) -> Any:
    """Parse JSON with tags. Each tag becomes a text ``<tag>``, or a part of the text that contains it."""
    found, position, quoted = "", 0, False
    for match in re.finditer(r"\{\{(.*?)\}\}", text):
        before = text[position : match.start()]
        quoted ^= bool(len(re.findall(r'(?<!\\)"', before)) % 2)
        tag = json.dumps(f"<{match[1]}>")
        found += before + (tag[1:-1] if quoted else tag)
        position = match.end()
    return json.loads(found + text[position:])


def executor_tasks(pipeline: Pipeline) -> int:
    """Return the number of tasks that need a pod in a run in which every condition is true and every loop runs once."""
    known: dict[str, int] = {}

    def count(component: Component) -> int:
        if component.name not in known:
            if isinstance(component.body, Dag):
                known[component.name] = sum(count(pipeline.component(task)) for task in component.body.tasks.values())
            else:
                known[component.name] = int(isinstance(component.body, Container | Unknown))
        return known[component.name]

    return count(pipeline.root)
