"""What a target cannot express: gathered while lowering, told all at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.errors import UnsupportedError
from sluice.ir.lint import Finding


@dataclass(slots=True)
class Findings:
    """What a lowering refuses."""

    target: str
    refusals: list[Finding] = field(default_factory=list)

    def refuse(self, task: str, field_: str, reason: str, hint: str) -> None:
        """Add a refusal, once."""
        refusal = Finding(task, field_, reason, hint)
        if refusal not in self.refusals:
            self.refusals.append(refusal)

    def check(self) -> None:
        """Make sure that nothing was refused.

        Raises:
            UnsupportedError: Something was; the message names every task, field and reason.
        """
        if not self.refusals:
            return
        told = [f"{r.task}, {r.field}: {r.reason}" for r in self.refusals]
        more = f" ({len(told)} constructs)" if len(told) > 1 else ""
        raise UnsupportedError(f"{self.target} cannot express{more}: {'; '.join(told)}", hint=self.refusals[0].hint)
