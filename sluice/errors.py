"""All errors that Sluice raises on purpose. Each has a message (what happened), a hint (what to do next) and an exit code.

The classes, with the exit code of each branch::

    SluiceError                       1  unexpected error
    ├── UsageError                    2  usage or configuration
    │   ├── ConfigurationError           sluice.toml is not valid; the message names the key
    │   ├── DataError                    a snapshot, holdout or model file is missing, unreadable or breaks its contract
    │   └── StateError                   the request does not fit the present state (for example, there is no champion)
    ├── UnsupportedError              3  the target cannot express a construct; the message names the task and the field
    ├── RefusedError                  4  a check, the gate, a person or an integrity check said no
    │   ├── CheckFailedError             a check of a test layer failed; the message names it
    │   ├── UndecidedError               the gate could not judge a challenger; the message says why
    │   └── IntegrityError               a file does not have the expected digest
    ├── ServiceError                  5  the cluster or a service failed
    │   ├── PortInUseError               a port is in use; the message names it
    │   └── NotServingError              no supervisor or controller is running
    ├── RolledBackError               6  the rollout ended in a rollback
    └── InterruptedRunError         130  ctrl-C or SIGTERM ended the command
"""

from __future__ import annotations

from typing import ClassVar


class SluiceError(Exception):
    """An expected failure.

    Args:
        message: What happened, in one clause. It starts in lower case and has no final full stop.
        hint: What to do next, in full sentences; empty if there is no advice.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the message and the hint apart, so that each output format can show them in its own way."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(SluiceError):
    """The command or its input cannot be used."""

    exit_code = 2


class ConfigurationError(UsageError):
    """sluice.toml, or an environment variable that overrides it, is not valid. The message names the key."""


class DataError(UsageError):
    """A snapshot, holdout or model file is missing, unreadable or breaks its contract."""


class StateError(UsageError):
    """The request does not fit the present state, for example because there is no champion or a rollout is running."""


class UnsupportedError(SluiceError):
    """The target cannot express a construct."""

    exit_code = 3


class RefusedError(SluiceError):
    """A check, the gate, a person or an integrity check said no."""

    exit_code = 4


class CheckFailedError(RefusedError):
    """A check of a test layer failed."""


class UndecidedError(RefusedError):
    """The gate could not judge a challenger, so nothing goes to production."""


class IntegrityError(RefusedError):
    """A file or blob does not have the expected digest."""


class ServiceError(SluiceError):
    """The cluster or a service failed."""

    exit_code = 5


class PortInUseError(ServiceError):
    """A port that Sluice needs is in use."""


class NotServingError(ServiceError):
    """No supervisor or controller is running that could serve or move traffic."""


class RolledBackError(SluiceError):
    """The rollout ended in a rollback."""

    exit_code = 6


class InterruptedRunError(SluiceError):
    """A person or the system ended the command."""

    exit_code = 130
