"""Every error that Sluice raises on purpose: a message (what happened), a hint (what to do next), an exit code.

The tree, with the exit code of each branch::

    SluiceError                       1  unexpected
    ├── UsageError                    2  usage or configuration
    │   ├── ConfigurationError           sluice.toml: names the key
    │   ├── DataError                    a snapshot, holdout or model file is missing, unreadable or breaks its contract
    │   └── StateError                   what was asked does not fit the state (no champion, no N-1, a rollout runs already)
    ├── UnsupportedError              3  a construct that the target cannot express: names the task and the field
    ├── RefusedError                  4  a check, the gate or an integrity test said no
    │   ├── CheckFailedError             a layer's check failed: names the check
    │   └── IntegrityError               bytes do not have the digest that was expected of them
    ├── ServiceError                  5  the cluster or a service failed
    │   ├── PortInUseError               names the port
    │   └── NotServingError              no supervisor is running
    ├── RolledBackError               6  the rollout ended in a rollback
    └── InterruptedRunError         130  ended by ctrl-C or SIGTERM
"""

from __future__ import annotations

from typing import ClassVar


class SluiceError(Exception):
    """An expected failure.

    Args:
        message: What happened, one sentence.
        hint: What to do next, one sentence; empty where nothing can be advised.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the message and the hint apart, so that each surface can show them its own way."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(SluiceError):
    """The command or its input cannot be used as given."""

    exit_code = 2


class ConfigurationError(UsageError):
    """sluice.toml, or an environment variable that overrides it, is not valid; the message names the key."""


class DataError(UsageError):
    """A snapshot, holdout or model file is missing, unreadable or breaks its contract."""


class StateError(UsageError):
    """What was asked does not fit the present state."""


class UnsupportedError(SluiceError):
    """The target cannot express a construct."""

    exit_code = 3


class RefusedError(SluiceError):
    """A check, the gate or an integrity test said no."""

    exit_code = 4


class CheckFailedError(RefusedError):
    """A layer's check failed."""


class IntegrityError(RefusedError):
    """Bytes do not have the digest that was expected of them."""


class ServiceError(SluiceError):
    """The cluster or a service failed."""

    exit_code = 5


class PortInUseError(ServiceError):
    """A port that is needed is taken."""


class NotServingError(ServiceError):
    """No supervisor is running that could serve or move traffic."""


class RolledBackError(SluiceError):
    """The rollout ended in a rollback."""

    exit_code = 6


class InterruptedRunError(SluiceError):
    """The user or the system ended the work."""

    exit_code = 130
