"""The clock that rollouts use, so that a simulation can pass in its own, and a time that a set system clock does not change."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Clock:
    """A source of time.

    Attributes:
        now: Seconds since the epoch. This is the time in the journal. A system clock may jump, so each platform has its own.
        steady: Seconds of a clock that never goes back, for measuring durations in this process.
        sleep: Waits for some seconds.
    """

    now: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep


REAL_CLOCK = Clock()


@dataclass(frozen=True, slots=True)
class TimeReference:
    """What time it was at one moment of a machine's steady clock. The time goes on from there with the steady clock.

    Attributes:
        boot: Id of the boot of the machine. A steady clock begins again with each boot. Empty if the system has no such id.
        steady: Seconds of the steady clock that all processes of this boot share.
        time: Seconds since the epoch at that moment.
    """

    boot: str
    steady: float
    time: float

    def read(self, steady: float) -> float:
        """Return the time, in seconds since the epoch, at a moment of the steady clock."""
        return self.time + steady - self.steady


def choose_reference(
    known: TimeReference | None, *, boot: str, steady: float, system: float, newest: float = 0.0
) -> TimeReference:
    """Return the reference by which the time is read from now on.

    A reference of this boot stays, whatever the system's clock shows. Otherwise the time continues with the system's clock, but
    never before a time that was seen already, so that it never goes back.

    Args:
        known: The reference that was stored last; None if there is none.
        boot: Id of the present boot; empty if the system has none. Then a stored reference only keeps the time from going back.
        steady: The steady clock now, in seconds.
        system: The system's clock now, in seconds since the epoch.
        newest: The newest time in the journal, in seconds since the epoch.
    """
    if known is not None and boot and known.boot == boot and known.steady <= steady:
        return known
    return TimeReference(boot, steady, max(system, newest, known.time if known else 0.0))


NOTED_DIFFERENCE_SECONDS = 60.0
"""People are told if the system's clock differs by more from the time that rollouts use."""


def describe_difference(now: float, system: float) -> str:
    """Say how the system's clock differs from the time that rollouts use; empty if it hardly does.

    Args:
        now: The time that rollouts use, in seconds since the epoch.
        system: The system's clock, in seconds since the epoch.
    """
    difference = system - now
    if abs(difference) <= NOTED_DIFFERENCE_SECONDS:
        return ""
    which = "ahead of" if difference > 0 else "behind"
    return (
        f"the system's clock is {abs(difference):.0f} s {which} the time that rollouts use, which goes on as if nobody had set it"
    )
