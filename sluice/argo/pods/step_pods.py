"""The pod of one step while it is being put together: fields that Argo's template has, and a patch for those that it lacks.

Argo's fields for quantities, accelerators, pull secrets and the like take no expression; ``podSpecPatch`` is text and does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.values import Value
from sluice.argo.expressions.wire_json import Tag, dump, parse_json

if TYPE_CHECKING:
    from sluice.ir.graph import JSON

WORKSPACE_VOLUME = "kfp-workspace"
"""KFP's name of the workspace's volume and claim."""

OWN = "sluice-"
"""How the names of Sluice's own volumes begin, so that every other is free for the user's."""

Resolve = Callable[[dict[str, Any]], Value]
"""An ``InputParameterSpec`` of the platform's settings → a value inside the template."""


@dataclass(slots=True)
class Pod:
    """A step's pod. A tag in it gives JSON, wherever it stands.

    Attributes:
        template: Fields of the Argo template.
        container: Fields of the main container.
        patch: Fields of the pod that go into ``podSpecPatch``.
        main_patch: Fields of the main container that do.
        config: What a ``dsl.TaskConfig`` input gets.
    """

    template: dict[str, Any] = field(default_factory=dict)
    container: dict[str, Any] = field(default_factory=dict)
    patch: dict[str, Any] = field(default_factory=dict)
    main_patch: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    def mount(self, volume: dict[str, Any] | None, mount: dict[str, Any]) -> None:
        """Add a volume, unless the same is there, and where it is mounted.

        Raises:
            ValueError: Another volume has its name.
        """
        volumes = self.template.setdefault("volumes", []) if volume is not None else []
        if volume is not None and volume not in volumes:
            if volume["name"] == WORKSPACE_VOLUME or volume["name"] in {each["name"] for each in volumes}:
                raise ValueError(f"two volumes are called {volume['name']!r}")
            volumes.append(volume)
        self.container.setdefault("volumeMounts", []).append(mount)

    def env(self, entry: dict[str, Any]) -> None:
        """Add an environment variable."""
        self.container.setdefault("env", []).append(entry)

    def pod_spec_patch(self) -> str:
        """The patch as text; empty where there is none."""
        patch = dict(self.patch)
        if self.main_patch:
            patch["containers"] = [{"name": "main", **self.main_patch}]
        return dump(patch) if patch else ""


def decimal(number: float) -> str:
    """A number as Kubernetes and Go read it: digits and a point, no exponent."""
    text = format(Decimal(repr(float(number))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def text_tag(value: Value) -> str | Tag:
    """A string value: the text where it is known, else an expression of its JSON."""
    return str(parse_json(value.text)) if value.is_constant else Tag(value.expression)


def resource_name(raw: dict[str, Any], key: str, resolve: Resolve) -> Value | None:
    """The name of a secret, config map or claim, from the new field or the old one; None where it is null."""
    spec = raw.get(f"{key}Parameter")
    value = resolve(spec) if spec else resolve({"runtimeValue": {"constant": raw.get(key)}})
    return None if value.is_null else value


def has_tag(value: JSON | Tag) -> bool:
    """Whether anything in it is known only when running."""
    if isinstance(value, dict):
        return any(has_tag(each) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return any(has_tag(each) for each in value)
    return isinstance(value, Tag)


def as_field(value: JSON | Tag) -> JSON:
    """A value for a field of Argo's template, which takes text with an expression in it: a tag's JSON becomes the text it is."""
    if isinstance(value, dict):
        return {str(key): as_field(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_field(each) for each in value]
    return str(Tag(f"fromJSON({value.expression})")) if isinstance(value, Tag) else value
