"""How a run ends: its outcomes, their exit codes, and the outcome that follows from the outputs of a run's steps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.carried_records import DETAIL, RELEASE
from sluice.carried_records import GATE as GATE_FACT
from sluice.engines.gate_answers import read_answer, read_numbers
from sluice.errors import CheckFailedError, InterruptedRunError, RolledBackError, ServiceError, UndecidedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sluice.engines import GateNumbers, RunStatus, StepStatus

CUT_OFF = "cut_off"
"""Outcome of a run whose processes are gone although it has written no end."""

EXIT_CODES = {
    "promoted": 0,
    "kept": 0,
    "passed": 0,
    "unchanged": 0,
    "rejected": 4,
    "undecided": 4,
    "rolled_back": 6,
    CUT_OFF: 1,
    "interrupted": 130,
}
"""Outcomes of a run with an exit code of their own. A run that failed has the exit code of its failed step."""

GOOD_OUTCOMES = frozenset({"promoted", "kept", "passed"})
"""Outcomes of a run that the same inputs would have again. "unchanged" is none of them: another champion gives another answer."""

PIN, TRAIN = "pin-snapshot", "train"
GATE, DRIFT, PACKAGE, APPROVAL, CANARY = "gate", "drift", "package", "approval", "canary"
"""Names of the components that decide about the outcome."""

_DIGEST_LENGTH = 19
"""Length of a digest in a table: ``sha256:`` and 12 digits."""

OUTPUT = "Output"
"""Name of the parameter with the value that a Python component returns."""

_NAMED_CODES = frozenset({2, 3, 4, 5, 6, 130})
"""Exit codes of a step that say by themselves what happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedStep:
    """What is known of a step that ran in a cluster.

    Attributes:
        component: Name of the component, for example ``gate``.
        path: The step's name behind the names of the parts around it; empty if it is the component's name.
        outcome: ``pass``, ``fail``, ``waiting`` …, as in `StepStatus`.
        output: Value of its parameter ``Output``; None if the engine does not tell it.
        exit_code: Exit code of its process; None if it is unknown.
        detail: What the engine says about it.
        facts: Metadata of the step's record (`sluice.carried_records`); empty if it has none, or the engine does not tell them.
    """

    component: str
    outcome: str
    path: str = ""
    output: Any = None
    exit_code: int | None = None
    detail: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """What the step said when it ended; empty if it is unknown."""
        return str(self.facts.get(DETAIL) or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a run, and what it follows from.

    Attributes:
        name: The outcome.
        reason: Why.
        exit_code: The documented exit code; 0 while the run has not ended.
        release: Number of the release that the run packaged, or the first digits of its digest; empty if there is none.
        gate: ``promote``, ``keep`` or ``override``; empty if the gate was not asked.
        numbers: What the gate said with its answer; None if it is unknown.
    """

    name: str
    reason: str
    exit_code: int
    release: str = ""
    gate: str = ""
    numbers: GateNumbers | None = None


def exit_code_of(outcome: str, steps: Iterable[Mapping[str, Any]]) -> int:
    """Return the documented exit code of a run that has ended: that of its outcome, or else of its first failed step."""
    if outcome in EXIT_CODES:
        return EXIT_CODES[outcome]
    codes = [int(step["exit_code"]) for step in steps if step.get("exit_code") is not None]
    return codes[0] if codes else 1


def conclude(steps: Iterable[FinishedStep], *, state: str, message: str = "") -> Outcome:
    """Determine the outcome of a run from the outputs of its steps.

    Args:
        steps: The steps that ran, in their order.
        state: ``running``, ``waiting``, ``succeeded``, ``failed`` or ``interrupted``, as the engine says.
        message: What the engine says about the whole run.
    """
    known = list(steps)
    found = {step.component: step for step in known if step.outcome in {"pass", "waiting", "running"}}
    asked = next((step for step in known if step.component == GATE), None)  # a gate that failed may have answered too
    facts: dict[str, Any] = {"release": _name_release(found.get(PACKAGE)), **_read_gate(asked)}
    gate = facts["gate"]
    if state in {"running", "waiting"}:
        return Outcome(name=state, reason=message, exit_code=0, **facts)
    if state == "interrupted":
        return Outcome(name="interrupted", reason=message or "a person ended the run", exit_code=130, **facts)
    if state == "succeeded":
        name, reason = _name_success(found, gate)
        return Outcome(name=name, reason=reason, exit_code=0, **facts)
    name, reason, code = _name_failure(known, message)
    return Outcome(name=name, reason=reason, exit_code=code, **facts)


def _read_gate(step: FinishedStep | None) -> dict[str, Any]:
    """Return the gate's answer and its numbers: what its record says, or else what its output says."""
    decision = step.facts.get(GATE_FACT) if step else None
    if isinstance(decision, dict) and decision:
        return {"gate": read_answer(decision), "numbers": read_numbers(decision)}
    passed = step is not None and step.outcome == "pass"
    return {"gate": ({True: "promote", False: "keep"}.get(step.output) if step and passed else None) or ""}


def _name_release(package: FinishedStep | None) -> str:
    if package is None:
        return ""
    number = (package.facts.get(RELEASE) or {}).get("number")
    if isinstance(number, int | float):
        return str(int(number))
    return package.output[:_DIGEST_LENGTH] if isinstance(package.output, str) else ""


def _name_success(found: Mapping[str, FinishedStep], gate: str) -> tuple[str, str]:
    pinned = found.get(PIN)
    if pinned and pinned.output is False and TRAIN not in found:
        return "unchanged", pinned.told or "the champion was made from this snapshot and this code, so nothing was trained"
    drift = found.get(DRIFT)
    if drift and drift.output is False:
        return (
            "kept",
            drift.told
            or "no drift was found, or it could not be proven, so nothing was trained; the report of the step has the numbers",
        )
    if gate == "keep":
        return "kept", found[GATE].told or "the gate keeps the champion"
    if CANARY in found:
        return "promoted", found[CANARY].told or "the release is champion"
    return "passed", "every step passed"


def _name_failure(steps: list[FinishedStep], message: str) -> tuple[str, str, int]:
    failed = next((step for step in steps if step.outcome == "fail"), None)
    if failed is None:
        return "failed", message or "the engine ended the run, and no step failed", ServiceError.exit_code
    reason = f"the step {failed.path or failed.component} failed" + (f": {failed.detail}" if failed.detail else "")
    code = _code_of(failed)
    if failed.component == CANARY and code == RolledBackError.exit_code:
        return "rolled_back", reason, code
    if failed.component == APPROVAL and code == CheckFailedError.exit_code:
        return "rejected", reason, code
    if failed.component == GATE and code == UndecidedError.exit_code:
        return "undecided", reason, code
    if code == InterruptedRunError.exit_code:
        return "interrupted", reason, code
    return "failed", reason, code


def _code_of(step: FinishedStep) -> int:
    """Return the documented exit code of a failed step.

    A step whose process never ran, was killed, or told no exit code is a failure of the cluster.
    """
    if step.exit_code == RolledBackError.exit_code and step.component != CANARY:
        return 1  # another program's own meaning of 6
    if step.exit_code in _NAMED_CODES:
        return int(step.exit_code)
    return 1 if step.exit_code == 1 else ServiceError.exit_code


def read_error(lines: Iterable[str]) -> tuple[str, str]:
    """Return message and hint of the last error that a step printed; empty texts if it printed none.

    A step prints them as the command line does (`sluice.steps.records.running_step`).
    """
    message = hint = ""
    for line in lines:
        if line.startswith("error: "):
            message, hint = line.removeprefix("error: "), ""
        elif message and line.startswith("next: "):
            hint = line.removeprefix("next: ")
    return message, hint


def explain_failure(status: RunStatus, lines: Iterable[str]) -> RunStatus:
    """Return the status of a failed run with the message and the hint of the error that the failed step printed."""
    message, hint = read_error(lines)
    failed = find_failed(status)
    if not message or failed is None:
        return status
    return dataclasses.replace(status, reason=f"the step {find_paths(status.steps)[failed.id]} failed: {message}", hint=hint)


def find_paths(steps: Sequence[StepStatus]) -> dict[str, str]:
    """Return id of each step → its name behind the names of the parts around it, as in ``promote / package``.

    Args:
        steps: The steps in the order of the tree, each part before what it contains.
    """
    paths, around = {}, list[str]()
    for step in steps:
        del around[step.depth :]
        around.append(step.name)
        paths[step.id] = " / ".join(around)
    return paths


def find_failed(status: RunStatus) -> StepStatus | None:
    """Return the first step that failed in a run that has ended; None if there is none."""
    return next((step for step in status.steps if status.ended and step.outcome == "fail" and not step.is_group), None)
