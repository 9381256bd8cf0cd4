"""Keys of the artifacts that steps make, and where an artifact comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluice.argo.expressions.argo_names import label, names_of

if TYPE_CHECKING:
    from sluice.ir.graph import Component

RUN = "{{workflow.name}}"
POD = "{{pod.name}}"
STORED = "stored"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an artifact comes from.

    Attributes:
        kind: `STORED` for one that a step makes, else the scheme of an imported one's URI.
        component: The component that makes it.
        output: Its output.
    """

    kind: str
    component: str = ""
    output: str = ""

    @property
    def prefix(self) -> str:
        """The folder that all artifacts of this output lie under, where they are collected."""
        return f"{RUN}/{label(self.component.removeprefix('comp-'))}.{label(self.output)}"


Origins = frozenset[Origin]


def output_key(component: Component, name: str, *, collected: bool) -> str:
    """The key of an output artifact; one folder for all of them where a loop's are collected."""
    argo = names_of(component).outputs[name]
    if collected:
        return f"{Origin(STORED, component.name, name).prefix}/{POD}/{argo}"
    return f"{RUN}/{POD}/{argo}"


def text_expression(text: str) -> str:
    """A text with the run's and the pod's name in it as an expression."""
    parts = text.replace(RUN, "\0workflow.name\0").replace(POD, "\0pod.name\0").split("\0")
    return " + ".join(part if part in {"workflow.name", "pod.name"} else f"'{part}'" for part in parts if part)
