"""The edge to code that is not Sluice's: a project's loader, a storage library behind fsspec."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sluice.errors import DataError, SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterator


FOREIGN_ERRORS = (
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
"""What a loader or a storage library raises about its input: the built-in kinds, which pyarrow's and pandas' derive from.
One that derives from `Exception` itself is taken for a fault of that code and keeps its traceback."""


@contextmanager
def foreign_call(what: str, *, hint: str) -> Iterator[None]:
    """Turn what foreign code raises into one error with a hint; Sluice's own errors pass as they are.

    Args:
        what: What could not be done, the beginning of the message.
        hint: What to do next.

    Raises:
        DataError: The block raised one of `FOREIGN_ERRORS`; the message ends with its kind and words.
    """
    try:
        yield
    except SluiceError:
        raise
    except FOREIGN_ERRORS as error:
        raise DataError(f"{what}: {describe_error(error)}", hint=hint) from error


def describe_error(error: BaseException) -> str:
    r"""An exception in one line: its kind and its first non-empty line.

    >>> describe_error(ValueError("tenure_months: 3 rows\nmore"))
    'ValueError: tenure_months: 3 rows'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
