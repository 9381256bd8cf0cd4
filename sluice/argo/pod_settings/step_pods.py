"""The pod of one step while the compiler builds it.

A pod has fields in Argo's template, and fields in ``podSpecPatch``. Argo accepts no expression in some fields of the template,
for example quantities, accelerators and pull secrets. ``podSpecPatch`` is a text, and so it accepts expressions for all fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sluice.argo.expressions.values import Value
from sluice.argo.expressions.wire_json import Tag, from_wire, json_with_tags

if TYPE_CHECKING:
    from sluice.ir.graph import JSON

WORKSPACE_VOLUME = "kfp-workspace"
"""Name of the volume and the claim of KFP's workspace."""

OWN_PREFIX = "sluice-"
"""Prefix of the names of Sluice's own volumes. A pipeline's volumes may have any other name."""

Resolve = Callable[[dict[str, Any]], Value]
"""Function that turns an ``InputParameterSpec`` of the platform settings into a value inside the template."""


@dataclass(slots=True)
class Pod:
    """The pod of one step. Every tag in it gives JSON.

    Attributes:
        template: Fields of the Argo template.
        container: Fields of the main container.
        patch: Fields of the pod in ``podSpecPatch``.
        main_patch: Fields of the main container in ``podSpecPatch``.
        config: Fields that a ``dsl.TaskConfig`` input gets.
    """

    template: dict[str, Any] = field(default_factory=dict)
    container: dict[str, Any] = field(default_factory=dict)
    patch: dict[str, Any] = field(default_factory=dict)
    main_patch: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    def mount(self, volume: dict[str, Any] | None, mount: dict[str, Any]) -> None:
        """Mount a volume in the main container.

        Args:
            volume: The volume, which is added to the pod unless the pod has it already. None if the pod gets it elsewhere.
            mount: Name of the volume and the path at which it is mounted.

        Raises:
            ValueError: A different volume has the same name.
        """
        volumes = self.template.setdefault("volumes", []) if volume is not None else []
        if volume is not None and volume not in volumes:
            if volume["name"] == WORKSPACE_VOLUME or volume["name"] in {each["name"] for each in volumes}:
                raise ValueError(f"two volumes have the name {volume['name']!r}")
            volumes.append(volume)
        self.container.setdefault("volumeMounts", []).append(mount)

    def env(self, entry: dict[str, Any]) -> None:
        """Add an environment variable to the main container."""
        self.container.setdefault("env", []).append(entry)

    def pod_spec_patch(self) -> str:
        """Return the text of ``podSpecPatch``, or an empty text if the pod needs no patch."""
        patch = dict(self.patch)
        if self.main_patch:
            patch["containers"] = [{"name": "main", **self.main_patch}]
        return json_with_tags(patch) if patch else ""


def decimal(number: float) -> str:
    """Return a number as Kubernetes and Go read it: with digits and a decimal point, without an exponent."""
    text = format(Decimal(repr(float(number))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def text_tag(value: Value) -> str | Tag:
    """Return the text of a string value if it is known when compiling, otherwise a tag that gives its JSON."""
    return str(from_wire(value.text)) if value.is_constant else Tag(value.expression)


def resource_name(raw: dict[str, Any], key: str, resolve: Resolve) -> Value | None:
    """Return the name of a secret, config map or claim, or None if the name is null.

    Args:
        raw: The setting.
        key: Name of the old field, which holds the name as text. The new field is called ``<key>Parameter``.
        resolve: Function that turns an ``InputParameterSpec`` into a value inside the template.
    """
    spec = raw.get(f"{key}Parameter")
    value = resolve(spec) if spec else resolve({"runtimeValue": {"constant": raw.get(key)}})
    return None if value.is_null else value


def has_tag(value: JSON | Tag) -> bool:
    """Return whether a value contains a tag, so that only the run knows all of it."""
    if isinstance(value, dict):
        return any(has_tag(each) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return any(has_tag(each) for each in value)
    return isinstance(value, Tag)


def as_field(value: JSON | Tag) -> JSON:
    """Return a value for a field of Argo's template.

    The fields of a template take text. Therefore each tag, which gives JSON, becomes a tag that gives the text inside this JSON.
    """
    if isinstance(value, dict):
        return {str(key): as_field(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_field(each) for each in value]
    return str(Tag(f"fromJSON({value.expression})")) if isinstance(value, Tag) else value
