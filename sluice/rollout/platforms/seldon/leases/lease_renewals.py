"""The thread that acquires and renews the lease, so that a round that waits for a slow server does not lose it.

The lease is short, so that another controller acts a few seconds after one was killed. A round may take longer than that: an
executor that hangs takes a second, and an API server that hangs five. Therefore the thread has a connection of its own, with time
limits that fit the lease.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sluice.errors import SluiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.rollout.platforms.seldon.leases.lease_locks import LeaseLock

_PARTS = 6
"""The thread looks at the lease so many times while the lease lasts."""


@dataclass(slots=True)
class LeaseRenewal:
    """Keeps a lease in a thread of its own.

    Attributes:
        lock: The lease.
        build_annotations: Returns the annotations to write with a renewal.
        wake: Called when this controller has acquired or lost the lease, so that a control round starts at once.
        notify: Called with each new problem, one line of text.
    """

    lock: LeaseLock
    build_annotations: Callable[[], Mapping[str, str]]
    wake: Callable[[], object]
    notify: Callable[[str], object]
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. From now on the control rounds neither acquire nor renew the lease."""
        self.lock.is_kept = True
        self._thread = threading.Thread(target=self._run, daemon=True, name="lease")
        self._thread.start()

    def stop(self) -> None:
        """End the thread. The lease stays held until it is released, or until its time is over."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self.lock.is_kept = False

    def _run(self) -> None:
        last_problem = ""
        while not self._stopping.is_set():
            epoch, problem = self.lock.epoch, ""
            try:
                self.lock.acquire(self.build_annotations())
            except SluiceError as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001 - without this thread, no controller would act any more
                problem = f"{type(error).__name__}: {error}"
            if problem and problem != last_problem:
                self.notify(f"problem: the lease {self.lock.name} cannot be kept: {problem}")
            last_problem = problem
            if self.lock.epoch != epoch:
                self.wake()
            self._stopping.wait(self.lock.seconds / _PARTS)
