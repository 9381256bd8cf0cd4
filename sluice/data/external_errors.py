"""Turn the errors of external code (a project's loader, a storage library behind fsspec) into Sluice's own errors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sluice.errors import DataError, SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterator


EXTERNAL_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors that a loader or a storage library raises about its input: the built-in types, from which pyarrow's and pandas' derive.

An error that derives directly from `Exception` counts as a bug in the external code, so it keeps its traceback.
"""


@contextmanager
def external_call(what: str, *, hint: str) -> Iterator[None]:
    """Turn an error of external code into a DataError with a hint. Sluice's own errors pass through unchanged.

    Args:
        what: What could not be done. The message begins with it.
        hint: What to do next.

    Raises:
        DataError: The block raised one of `EXTERNAL_ERRORS`. The message ends with the error's type and its first line.
    """
    try:
        yield
    except SluiceError:
        raise
    except EXTERNAL_ERRORS as error:
        raise DataError(f"{what}: {describe_error(error)}", hint=hint) from error


def describe_error(error: BaseException) -> str:
    r"""Describe an exception in one line: its type and the first non-empty line of its text.

    >>> describe_error(ValueError("tenure_months: 3 rows\nmore"))
    'ValueError: tenure_months: 3 rows'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
