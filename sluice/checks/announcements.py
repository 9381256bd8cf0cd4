"""Which verdicts the judgements have returned, so that a test cannot drop one without notice.

A test that calls a judgement and forgets ``verify`` would pass whatever the model does.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from sluice.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Arguments = ParamSpec("_Arguments")
_Verdicts = TypeVar("_Verdicts", Verdict, list[Verdict])

_heard: ContextVar[list[Verdict] | None] = ContextVar("heard", default=None)


def announced(judge: Callable[_Arguments, _Verdicts]) -> Callable[_Arguments, _Verdicts]:
    """Announce what a judgement returns to whoever listens. A judgement that it calls itself announces nothing."""

    @functools.wraps(judge)
    def announce(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Verdicts:
        heard = _heard.get()
        token = _heard.set(None)
        try:
            returned = judge(*args, **kwargs)
        finally:
            _heard.reset(token)
        if heard is not None:
            heard.extend([returned] if isinstance(returned, Verdict) else returned)
        return returned

    return announce


@contextmanager
def listening() -> Iterator[list[Verdict]]:
    """Yield the list to which the verdicts of this context are added."""
    heard: list[Verdict] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)
