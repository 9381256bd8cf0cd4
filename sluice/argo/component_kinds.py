"""Questions about a pipeline's components that several parts of the compiler ask."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sluice.ir.graph import Component, Container, Dag, Pipeline
from sluice.ir.placeholders import ExecutorInput, pieces_of, read_argument

if TYPE_CHECKING:
    from collections.abc import Iterator

APPROVAL = "approval"
"""Name of Sluice's approval component."""

APPROVAL_CALL = "sluice.steps.production import wait_for_approval"
"""Code that the body of Sluice's approval component contains."""

OWN_CALLS = {
    APPROVAL: APPROVAL_CALL,
    "canary": "sluice.steps.production import run_canary",
    "code-tests": 'run_tests("code"',
    "data-tests": 'run_tests("data"',
    "drift": "sluice.steps.drift import measure_drift",
    "gate": "sluice.steps.gating import ask_gate",
    "integration-tests": 'run_tests("integration"',
    "model-tests": "sluice.steps.layers import run_model_tests",
    "package": "sluice.steps import packaging",
    "pin-reference": "sluice.steps.snapshots import pin_reference",
    "pin-snapshot": "sluice.steps.snapshots import pin",
    "score": "sluice.steps.scoring import score_gate_rows",
    "train": "sluice.steps import training",
}
"""Name of each component of Sluice → code that its body contains."""

CALL_AN_API_SERVER = ("pin-snapshot", "pin-reference", "gate", "package", "integration-tests", "canary")
"""Names of Sluice's components whose steps on Argo need a token. All others run without one."""

SIGNING_VARIABLES = {"gate": "SLUICE_GATE_KEY", "package": "SLUICE_SIGNING_KEY"}
"""Name of each component whose step signs → the environment variable that names its private key."""

CREATE_CLAIM, DELETE_CLAIM = "argostub/createpvc", "argostub/deletepvc"
"""Images of kfp-kubernetes' components CreatePVC and DeletePVC. KFP's driver recognizes them and starts no container."""


def is_python(container: Container) -> bool:
    """Return whether the launcher runs a container.

    It does if the container takes KFP's executor input and its command contains ``python``.
    """
    parts = [*container.command, *container.args]
    takes = any(isinstance(piece, ExecutorInput) for part in parts if "{{$}}" in part for piece in pieces_of(read_argument(part)))
    return takes and any("python" in part for part in parts)


def is_approval(component: Component) -> bool:
    """Return whether a component is Sluice's approval step: it has that name, and its body calls Sluice."""
    return component.name.removeprefix("comp-") == APPROVAL and _calls(component, APPROVAL_CALL)


def find_table_key(component: Component) -> str:
    """Return the key by which a table of sluice.toml names a component: its name.

    If a pipeline has several components of one name, KFP adds a number to the name of each further one. For Sluice's own
    components the number is left out. For others it stays, because ``step_2`` may be the name that the author chose.
    """
    name = component.name.removeprefix("comp-")
    unnumbered = re.sub(r"-\d+$", "", name)
    return unnumbered if unnumbered in OWN_CALLS else name


def is_impostor(component: Component) -> bool:
    """Return whether a component has the name of one of Sluice's components, but not its body."""
    key = find_table_key(component)
    return key in OWN_CALLS and not _calls(component, OWN_CALLS[key])


def _calls(component: Component, call: str) -> bool:
    return isinstance(component.body, Container) and any(call in part for part in component.body.command)


def is_claim(component: Component) -> bool:
    """Return whether a component creates or deletes a PersistentVolumeClaim (kfp-kubernetes' CreatePVC and DeletePVC)."""
    return isinstance(component.body, Container) and component.body.image in {CREATE_CLAIM, DELETE_CLAIM}


def collected_components(pipeline: Pipeline) -> Iterator[str]:
    """Yield the names of the components whose output artifacts a loop collects."""
    for component in (pipeline.root, *pipeline.components.values()):
        if not isinstance(component.body, Dag):
            continue
        for task in component.body.tasks.values():
            if task.iterator is None:
                continue
            body = pipeline.component(task)
            for output in body.output_artifacts:
                yield from producers(pipeline, body, output)


def producers(pipeline: Pipeline, component: Component, output: str) -> Iterator[str]:
    """Yield the names of the components with an executor that make an output artifact."""
    if not isinstance(component.body, Dag):
        yield component.name
        return
    for source in component.body.artifacts.get(output, ()):
        yield from producers(pipeline, pipeline.component(component.body.tasks[source.task]), source.key)


def is_collected(pipeline: Pipeline, component: Component, output: str) -> bool:
    """Return whether an output artifact of a DAG is already the list that a loop collected."""
    if not isinstance(component.body, Dag):
        return False
    for source in component.body.artifacts.get(output, ()):
        task = component.body.tasks[source.task]
        if task.iterator is not None or is_collected(pipeline, pipeline.component(task), source.key):
            return True
    return False
