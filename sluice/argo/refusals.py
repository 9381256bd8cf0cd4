"""What a target cannot express: gathered while lowering, told all at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.errors import UnsupportedError
from sluice.ir.lint import Finding


class InexpressibleError(ValueError):
    """Something that cannot be expressed, found where the task is not known; whoever knows it refuses it."""

    def __init__(self, field_: str, reason: str, hint: str) -> None:
        """Keep the field of the IR, and what to do instead, beside the reason."""
        super().__init__(reason)
        self.field = field_
        self.hint = hint


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

    def refuse_error(self, task: str, field_: str, error: ValueError) -> None:
        """Add what an error says, which may know the field and what to do better than its caller."""
        if isinstance(error, InexpressibleError):
            self.refuse(task, error.field, str(error), error.hint)
        else:
            self.refuse(task, field_, str(error), '"What is refused" in docs/compiler.md says what to do instead.')

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
