"""What a target cannot express: gathered while lowering, told all at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class Refusal:
    """One construct that does not lower.

    Attributes:
        task: Where it stands: task names from the outermost DAG inwards, joined by dots.
        field: The field of the IR.
        reason: What cannot be expressed.
        hint: What to do instead.
    """

    task: str
    field: str
    reason: str
    hint: str


@dataclass(slots=True)
class Findings:
    """What a lowering has to say: refusals, and notes on what it did."""

    target: str
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, task: str, field_: str, reason: str, hint: str) -> None:
        """Add a refusal, once."""
        refusal = Refusal(task, field_, reason, hint)
        if refusal not in self.refusals:
            self.refusals.append(refusal)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

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
