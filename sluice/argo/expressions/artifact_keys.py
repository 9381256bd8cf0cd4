"""The keys under which steps store their artifacts, and the origin of an artifact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.argo.expressions.argo_names import kubernetes_name, names_of

if TYPE_CHECKING:
    from sluice.ir.graph import Component

RUN = "{{workflow.name}}"
POD = "{{pod.name}}"
STORED = "stored"
"""Kind of an artifact that a step of the run makes."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an artifact comes from.

    Attributes:
        kind: `STORED` if a step makes the artifact. Otherwise the scheme of the imported artifact's URI, for example ``gs``.
        component: Name of the component that makes the artifact; empty for an imported one.
        output: Output of that component; empty for an imported one.
    """

    kind: str
    component: str = ""
    output: str = ""

    @property
    def prefix(self) -> str:
        """The folder that holds all artifacts of this output, if a loop collects them."""
        return f"{RUN}/{kubernetes_name(self.component.removeprefix('comp-'))}.{kubernetes_name(self.output)}"


Origins = frozenset[Origin]


def output_key(component: Component, name: str, *, collected: bool) -> str:
    """Return the key of an output artifact.

    Args:
        component: The component that makes the artifact.
        name: The output artifact.
        collected: Whether a loop collects the artifact. All artifacts of such an output share one folder.
    """
    argo = names_of(component).outputs[name]
    if collected:
        return f"{Origin(STORED, component.name, name).prefix}/{POD}/{argo}"
    return f"{RUN}/{POD}/{argo}"


def text_expression(text: str) -> str:
    """Return an expression that gives a text. `RUN` and `POD` in the text become the variables for the run's and pod's name."""
    parts = text.replace(RUN, "\0workflow.name\0").replace(POD, "\0pod.name\0").split("\0")
    return " + ".join(part if part in {"workflow.name", "pod.name"} else f"'{part}'" for part in parts if part)
