"""Argo's names for KFP's tasks, inputs and outputs.

Names are unique where Argo needs it. Names of parameters are identifiers, so that expressions can use them after a dot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sluice.ir.graph import Component, Task

_NOT_IN_PARAMETER = re.compile(r"[^A-Za-z0-9_]+")
_NOT_IN_KUBERNETES_NAME = re.compile(r"[^a-z0-9-]+")
_NOT_IN_DISPLAY_NAME = re.compile(r"[^A-Za-z0-9.-]+")
_CHANNEL = "pipelinechannel--"
_MAX_LENGTH = 52
"""Argo joins the names of the workflow and the template to the name of a pod, which Kubernetes limits to 63 characters."""

DISPLAY_NAME = "_display_name"
"""Input of a template whose tasks have display names. No input of KFP's gets a name with an underscore in front."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a component's inputs and outputs in Argo.

    Attributes:
        inputs: KFP's name → Argo's name, for parameters and artifacts together.
        outputs: KFP's name → Argo's name, for parameters and artifacts together.
    """

    inputs: dict[str, str]
    outputs: dict[str, str]


_CACHE: dict[int, tuple[Component, Names]] = {}


def names_of(component: Component) -> Names:
    """Return Argo's names of a component's inputs and outputs."""
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
    """Return the name of a parameter in Argo, without the prefix ``pipelinechannel--`` that KFP's compiler adds."""
    found = _NOT_IN_PARAMETER.sub("_", name.removeprefix(_CHANNEL)).strip("_") or "value"
    return found if not found[0].isdigit() else f"p_{found}"


def input_expression(name: str) -> str:
    """Return an expression that reads an input parameter of a template."""
    return f"inputs.parameters.{name}"


def output_expression(task: str, name: str) -> str:
    """Return an expression that reads an output parameter of a task in the same DAG."""
    return f"tasks['{task}'].outputs.parameters.{name}"


@cache
def kubernetes_name(name: str) -> str:
    """Return a name for a task, a template or a Kubernetes object: lower-case letters, digits and hyphens."""
    return _NOT_IN_KUBERNETES_NAME.sub("-", name.lower().removeprefix(_CHANNEL)).strip("-")[:_MAX_LENGTH].rstrip("-") or "step"


def display_name(task: Task) -> str:
    """Return the display name of a task, or an empty text if it has none.

    The name keeps only characters that Argo accepts, because any other character ends the run. The iterations of a loop have no
    display name, so that Argo can tell them apart by their items.
    """
    if task.display_name == task.name or task.iterator:
        return ""
    shown = _NOT_IN_DISPLAY_NAME.sub("-", task.display_name).strip("-.")[:63].rstrip("-.")
    return shown if len(shown) > 1 else ""


def unused_name(name: str, taken: Iterable[str]) -> str:
    """Return the name if it is not taken, otherwise the first of name-2, name-3, … that is not."""
    known = set(taken) if not isinstance(taken, dict | set) else taken
    if name not in known:
        return name
    number = 2
    while f"{name}-{number}" in known:
        number += 1
    return f"{name}-{number}"
