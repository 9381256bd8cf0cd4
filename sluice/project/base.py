"""Types that the tables of sluice.toml share."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

ObjectPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
"""``package.module:name``. Sluice imports it with the root of the project first on the import path."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""``sha256:`` and 64 lower-case hexadecimal digits."""

ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""The name of an object of Kubernetes."""


def _write_names_as_kfp_does(named: dict[str, str]) -> dict[str, str]:
    """Write each component's name with hyphens: ``pin_snapshot`` is ``pin-snapshot``."""
    found: dict[str, str] = {}
    for name, value in named.items():
        written = name.replace("_", "-")
        if found.setdefault(written, value) != value:
            raise ValueError(f"the component {written} has two values, {found[written]} and {value}")
    return found


ByComponent = Annotated[dict[str, ObjectName], AfterValidator(_write_names_as_kfp_does)]
"""Name of a component → name of an object of Kubernetes that its step uses."""


def _only_for_steps_that_sign(named: dict[str, str]) -> dict[str, str]:
    """Refuse a component that signs nothing, because its step must not see a key."""
    for name in named:
        if name not in {"gate", "package"}:
            raise ValueError(f"the step {name} signs nothing; only gate and package do")
    return named


SigningSecrets = Annotated[dict[str, ObjectName], AfterValidator(_only_for_steps_that_sign)]
"""``gate`` or ``package`` → name of the Secret with the private key of this step."""


class Table(BaseModel):
    """One table of sluice.toml. It is immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
