"""Refusals: the constructs that a target cannot express. The compiler collects them, so that one error can name all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.errors import UnsupportedError
from sluice.ir.lint import Finding


class InexpressibleError(ValueError):
    """The target cannot express a construct.

    Code that does not know the task raises this error. Code that knows the task catches it and adds a refusal.

    Attributes:
        field: Field of the IR that holds the construct.
        hint: What the author can do instead.
    """

    def __init__(self, field_: str, reason: str, hint: str) -> None:
        """Store the field and the hint beside the reason."""
        super().__init__(reason)
        self.field = field_
        self.hint = hint


@dataclass(slots=True)
class Refusals:
    """All refusals of one compilation.

    Attributes:
        target: Name of the target, for the message.
        found: The refusals in the order in which they were added.
    """

    target: str
    found: list[Finding] = field(default_factory=list)

    def add(self, task: str, field_: str, reason: str, hint: str) -> None:
        """Add a refusal. An equal refusal is added only once."""
        refusal = Finding(task, field_, reason, hint)
        if refusal not in self.found:
            self.found.append(refusal)

    def add_error(self, task: str, field_: str, error: ValueError) -> None:
        """Add a refusal for an error. An `InexpressibleError` brings its own field and hint."""
        if isinstance(error, InexpressibleError):
            self.add(task, error.field, str(error), error.hint)
        else:
            self.add(task, field_, str(error), 'The section "What is refused" in docs/compiler.md says what to do instead.')

    def raise_if_any(self) -> None:
        """Raise an error if anything was refused.

        Raises:
            UnsupportedError: Something was refused. The message names every task, field and reason.
        """
        if not self.found:
            return
        reasons = [f"{r.task}, {r.field}: {r.reason}" for r in self.found]
        count = f" ({len(reasons)} constructs)" if len(reasons) > 1 else ""
        raise UnsupportedError(f"{self.target} cannot express{count}: {'; '.join(reasons)}", hint=self.found[0].hint)
