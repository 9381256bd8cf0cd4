"""Argo's names for KFP's, unique where they must be; those of parameters are identifiers, so that expressions read well."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluice.ir.graph import Component, Task

_NOT_PARAMETER = re.compile(r"[^A-Za-z0-9_]+")
_NOT_LABEL = re.compile(r"[^a-z0-9-]+")
_NOT_SHOWN = re.compile(r"[^A-Za-z0-9.-]+")
_CHANNEL = "pipelinechannel--"
_LONGEST = 52
"""Argo builds pod names of the workflow's and the template's; Kubernetes' limit is 63."""

DISPLAY_NAME = "_display_name"
"""Input of a template whose tasks have names for people; no name of KFP's becomes one that begins like this."""


@dataclass(frozen=True, slots=True)
class Names:
    """A component's names for Argo: KFP's name → Argo's, parameters and artifacts together."""

    inputs: dict[str, str]
    outputs: dict[str, str]


_CACHE: dict[int, tuple[Component, Names]] = {}


def names_of(component: Component) -> Names:
    """Argo's names of a component's inputs and outputs."""
    known = _CACHE.get(id(component))
    if known is None or known[0] is not component:
        known = _CACHE[id(component)] = (
            component,
            Names(
                inputs=_unique([*component.inputs, *component.input_artifacts]),
                outputs=_unique([*component.outputs, *component.output_artifacts]),
            ),
        )
    return known[1]


def _unique(names: Iterable[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name in names:
        base = parameter_name(name)
        chosen, number = base, 2
        while chosen in given.values():
            chosen, number = f"{base}_{number}", number + 1
        given[name] = chosen
    return given


@cache
def parameter_name(name: str) -> str:
    """A parameter's name; KFP's ``pipelinechannel--`` says nothing to a reader."""
    found = _NOT_PARAMETER.sub("_", name.removeprefix(_CHANNEL)).strip("_") or "value"
    return found if not found[0].isdigit() else f"p_{found}"


def input_of(name: str) -> str:
    """A template's input parameter in an expression."""
    return f"inputs.parameters.{name}"


def output_of(task: str, name: str) -> str:
    """A task's output parameter in an expression of its DAG."""
    return f"tasks['{task}'].outputs.parameters.{name}"


@cache
def label(name: str) -> str:
    """A name for a task, a template or an object of Kubernetes."""
    return _NOT_LABEL.sub("-", name.lower().removeprefix(_CHANNEL)).strip("-")[:_LONGEST].rstrip("-") or "step"


def display_name(task: Task) -> str:
    """A task's name for people, of the signs that Argo takes (it ends a run otherwise); empty where there is none.

    The iterations of a loop have none: Argo tells them apart by their item.
    """
    if task.display_name == task.name or task.iterator:
        return ""
    shown = _NOT_SHOWN.sub("-", task.display_name).strip("-.")[:63].rstrip("-.")
    return shown if len(shown) > 1 else ""


def unused(name: str, taken: Iterable[str]) -> str:
    """The name, or the first of name-2, name-3, … that is free."""
    known = set(taken) if not isinstance(taken, dict | set) else taken
    if name not in known:
        return name
    number = 2
    while f"{name}-{number}" in known:
        number += 1
    return f"{name}-{number}"
