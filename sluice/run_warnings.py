"""A warning: what a run noticed that does not stop it, but that a person should know before they approve the release."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWarning:
    """One warning.

    Attributes:
        kind: A name that stays the same from run to run, for example ``leaking-feature``.
        text: What was noticed, with the numbers, in one clause.
        hint: What to do next, in full sentences.
    """

    kind: str
    text: str
    hint: str

    def to_dict(self) -> dict[str, str]:
        """Return the warning as plain JSON types. `from_dict` reads them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote. A missing field is empty."""
        return cls(**{field.name: str(values.get(field.name, "")) for field in dataclasses.fields(cls)})
