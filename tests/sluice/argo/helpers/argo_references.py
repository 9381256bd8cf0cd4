"""Check that an Argo object is consistent: every template, task, parameter, artifact and volume that it uses exists.

Argo finds most such errors only during a run. The rules come from the validation code of argo-workflows, and from the observed
behaviour of version 4.1.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Raw = dict[str, Any]
_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'")
_TASK = re.compile(r"tasks\['([^']*)'\]")
_OUTPUT = re.compile(r"tasks\['([^']*)'\](\??)\.(?:outputs\??\.(parameters|artifacts)\??\.([A-Za-z0-9_-]+)|status)")
_INPUT = re.compile(r"inputs\.(parameters|artifacts)\.([A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)*)")
_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*$")
_PARAMETER = re.compile(r"[-a-zA-Z0-9_]+$")
_KNOWN_TAGS = re.compile(r"workflow\.(name|uid|annotations\.sluice-launcher)|pod\.name|item")


def check_references(document: Raw) -> None:
    """Check that an object is consistent.

    Raises:
        AssertionError: The object is not consistent. The message lists every problem.
    """
    problems = list(_Checker(document).problems())
    assert not problems, "\n".join(problems)


def spec_of(document: Raw) -> Raw:
    found: Raw = document["spec"].get("workflowSpec", document["spec"])
    return found


def pods(document: Raw) -> int:
    """Return the number of pods in a run in which every condition is true and every loop runs once."""
    spec = spec_of(document)
    templates = {template["name"]: template for template in spec["templates"]}
    known: dict[str, int] = {}

    def count(name: str) -> int:
        if name not in known:
            template = templates[name]
            tasks = template.get("dag", {}).get("tasks", ())
            own = int("container" in template or "resource" in template)
            known[name] = own + sum(count(task["template"]) for task in tasks)
        return known[name]

    return count(spec["entrypoint"])


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a part of an object, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)


def expressions_in(value: Any) -> Iterator[str]:
    """Yield the content of every tag in a part of an object."""
    for text in texts_in(value):
        yield from _TAG.findall(text)


def _without_literals(expression: str) -> str:
    """Return an expression without its string literals. Only the names of tasks are kept."""
    kept = _TASK.sub(lambda match: f"tasks[\0{match[1]}\0]", expression)
    return _LITERAL.sub("''", kept).replace("\0", "'")


class _Checker:
    def __init__(self, document: Raw) -> None:
        self.spec = spec_of(document)
        self.document = document
        self.templates = {template["name"]: template for template in self.spec["templates"]}
        self.arguments = {each["name"] for each in self.spec.get("arguments", {}).get("parameters", ())}

    def problems(self) -> Iterator[str]:
        if len(self.templates) != len(self.spec["templates"]):
            yield "two templates have the same name"
        reached: set[str] = set()
        yield from self.reach(self.spec["entrypoint"], (), reached)
        for name in set(self.templates) - reached:
            yield f"template {name} is never used"
        if self.templates.get(self.spec["entrypoint"], {}).get("inputs"):
            yield "the entrypoint has inputs, which nothing can give"
        for template in self.templates.values():
            for problem in self.of_template(template):
                yield f"{template['name']}: {problem}"

    def reach(self, name: str, path: tuple[str, ...], reached: set[str]) -> Iterator[str]:
        if name in path:
            yield f"template {name} contains itself: {path}"
        elif name not in self.templates:
            yield f"template {name!r} does not exist"
        elif name not in reached:
            reached.add(name)
            for task in self.templates[name].get("dag", {}).get("tasks", ()):
                yield from self.reach(task["template"], (*path, name), reached)

    def of_template(self, template: Raw) -> Iterator[str]:
        if not _NAME.match(template["name"]) or len(template["name"]) > 63:
            yield "not a name that Argo accepts"
        kinds = [kind for kind in ("dag", "container", "resource", "suspend", "script", "steps") if kind in template]
        if len(kinds) != 1:
            yield f"it is not of exactly one kind: {kinds}"
        yield from self.of_interface(template)
        inputs = {
            kind: [each["name"] for each in template.get("inputs", {}).get(kind, ())] for kind in ("parameters", "artifacts")
        }
        expressions = [*expressions_in(template), *(e for e in output_expressions(template))]
        for expression in expressions:
            yield from self.of_expression(expression, inputs, looped=_loops(template))
        if "dag" in template:
            yield from _Dag(self, template).problems()
        else:
            yield from self.of_volumes(template)
            if any("tasks[" in _without_literals(expression) for expression in expressions):
                yield "it refers to tasks although it is not a DAG"

    def of_interface(self, template: Raw) -> Iterator[str]:
        for side in ("inputs", "outputs"):
            for kind in ("parameters", "artifacts"):
                names = [each["name"] for each in template.get(side, {}).get(kind, ())]
                if len(set(names)) != len(names):
                    yield f"two {side} {kind} have the same name: {names}"
                yield from (f"{side} have the invalid name {name!r}" for name in names if not _PARAMETER.match(name))
        paths = [each["path"] for each in template.get("inputs", {}).get("artifacts", ())]
        if len(set(paths)) != len(paths):
            yield f"two artifacts have the same path: {paths}"

    def of_expression(self, expression: str, inputs: dict[str, list[str]], *, looped: bool) -> Iterator[str]:
        if "{{" in expression:
            yield f"a tag begins inside a tag: {expression!r}"
        stripped = _without_literals(expression)
        if not expression.startswith("=") and expression in stripped and not _is_known_tag(expression):
            yield f"Argo does not know the tag {expression!r}"
        yield from _balance(stripped)
        for kind, name in _INPUT.findall(stripped):
            if name not in inputs[kind]:
                yield f"inputs.{kind}.{name} is used but not declared"
        for name in re.findall(r"workflow\.parameters\.([A-Za-z0-9_]+)", stripped):
            if name not in self.arguments:
                yield f"workflow.parameters.{name} is used but not declared"
        if not looped and re.search(r"(?<![\w.'])item(?![\w])", stripped):
            yield f"item is used outside a loop: {expression!r}"

    def of_volumes(self, template: Raw) -> Iterator[str]:
        container = template.get("container", {})
        own = [each["name"] for each in template.get("volumes", ())]
        shared = [each["name"] for each in self.spec.get("volumes", ())]
        shared += [each["metadata"]["name"] for each in self.spec.get("volumeClaimTemplates", ())]
        if len(set(own)) != len(own):
            yield f"two volumes have the same name: {own}"
        mounts = container.get("volumeMounts", [])
        yield from (f"volume {mount['name']!r} does not exist" for mount in mounts if mount["name"] not in {*own, *shared})
        paths = [mount["mountPath"] for mount in mounts]
        if len(set(paths)) != len(paths):
            yield f"two mounts at one path: {paths}"


def output_expressions(template: Raw) -> Iterator[str]:
    for each in template.get("outputs", {}).get("parameters", ()):
        if "expression" in each.get("valueFrom", {}):
            yield "=" + each["valueFrom"]["expression"]


def _is_known_tag(tag: str) -> bool:
    return bool(_KNOWN_TAGS.fullmatch(tag)) or bool(_INPUT.fullmatch(tag))


def _loops(template: Raw) -> bool:
    return any("withItems" in task or "withParam" in task for task in template.get("dag", {}).get("tasks", ()))


def _balance(stripped: str) -> Iterator[str]:
    closing = {")": "(", "]": "[", "}": "{"}
    stack: list[str] = []
    for character in stripped if stripped.startswith("=") else "":
        if character in "([{":
            stack.append(character)
        elif character in closing and (not stack or stack.pop() != closing[character]):
            yield f"brackets do not match: {stripped!r}"
            return
    if stack:
        yield f"brackets are not closed: {stripped!r}"


class _Dag:
    """The tasks of one DAG template."""

    def __init__(self, checker: _Checker, template: Raw) -> None:
        self.checker = checker
        self.template = template
        self.tasks = {task["name"]: task for task in template["dag"]["tasks"]}
        self.waits = {name: _waits(task) for name, task in self.tasks.items()}

    def problems(self) -> Iterator[str]:
        if len(self.tasks) != len(self.template["dag"]["tasks"]):
            yield "two tasks have the same name"
        if not self.tasks:
            yield "the DAG has no tasks"
        yield from self.of_names()
        yield from self.order()
        for name, task in self.tasks.items():
            for problem in self.of_task(name, task):
                yield f"task {name}: {problem}"
        for expression in output_expressions(self.template):
            yield from self.of_outputs(expression, set(self.tasks))

    def of_names(self) -> Iterator[str]:
        strict = "target" in self.template["dag"] or any(self.waits.values())
        for name, task in self.tasks.items():
            if not _NAME.match(name) or (strict and name[0].isdigit()):
                yield f"task {name!r}: not a name that Argo accepts"
            if "depends" in task and "dependencies" in task:
                yield f"task {name} has both depends and dependencies"
            yield from (
                f"task {name} waits for {each!r}, which does not exist" for each in self.waits[name] if each not in self.tasks
            )
        if "target" in self.template["dag"] and any("dependencies" in task for task in self.tasks.values()):
            yield "the DAG uses both depends and dependencies"
        for name in self.template["dag"].get("target", "").split():
            if name not in self.tasks:
                yield f"target {name!r} does not exist"

    def order(self) -> Iterator[str]:
        left = {name: {each for each in waits if each in self.tasks} for name, waits in self.waits.items()}
        while free := [name for name, waits in left.items() if not waits]:
            for name in free:
                del left[name]
            for waits in left.values():
                waits.difference_update(free)
        if left:
            yield f"tasks wait for each other: {sorted(left)}"

    def before(self, name: str) -> set[str]:
        """Return every task for which a task waits, directly or through other tasks."""
        found: set[str] = set()
        left = list(self.waits[name])
        while left:
            each = left.pop()
            if each not in found:
                found.add(each)
                left += self.waits.get(each, ())
        return found

    def of_task(self, name: str, task: Raw) -> Iterator[str]:
        template = self.checker.templates.get(task["template"])
        if template is None:
            return
        given = [each["name"] for each in task.get("arguments", {}).get("parameters", ())]
        declared = template.get("inputs", {}).get("parameters", ())
        needed = {each["name"] for each in declared if "value" not in each and "default" not in each}
        if len(set(given)) != len(given):
            yield f"two arguments have the same name: {given}"
        if missing := needed - set(given):
            yield f"arguments are missing: {sorted(missing)}"
        if surplus := set(given) - {each["name"] for each in declared}:
            yield f"arguments are not declared: {sorted(surplus)}"
        if "withItems" in task and "withParam" in task:
            yield "the task has two loops"
        if "{{item}}" in str(task) and "withItems" not in task and "withParam" not in task:
            yield "item is used outside a loop"
        before = self.before(name)
        for expression in expressions_in(task):
            yield from self.of_outputs(expression, before)

    def of_outputs(self, expression: str, before: set[str]) -> Iterator[str]:
        stripped = _without_literals(expression)
        for used in _TASK.findall(stripped):
            if used not in before:
                yield f"it reads an output of task {used!r} without waiting for it"
        for used, safe, kind, output in _OUTPUT.findall(stripped):
            template = self.checker.templates.get(self.tasks.get(used, {}).get("template", ""))
            if template is None or not kind:
                continue
            made = {each["name"]: each for each in template.get("outputs", {}).get(kind, ())}
            if output not in made:
                yield f"task {used!r} has no output {output!r}"
            elif not safe and _may_be_skipped(self.tasks[used]) and "default" not in made[output].get("valueFrom", {}):
                yield f"output {output!r} of task {used!r}, which may be skipped, has no default"


def _may_be_skipped(task: Raw) -> bool:
    return "when" in task or "withParam" in task or task.get("withItems") == []


def _waits(task: Raw) -> list[str]:
    named = re.findall(r"[A-Za-z0-9_-]+(?:\.[A-Za-z]+)?", task.get("depends", ""))
    return [*task.get("dependencies", ()), *dict.fromkeys(name.partition(".")[0] for name in named)]
