"""Requests that wait at the same time, answered by one call of the model.

A pipeline of pandas and scikit-learn costs milliseconds a call and microseconds a row. So whoever asks while nobody else does
asks for itself at once; those who come meanwhile wait, and the first of them then asks for all. Nobody waits for company: there
is no timer and no thread beside those of the requests, and a lone request is as quick as without.

What is joined stays apart otherwise. Frames are joined only where they have the same types, so every cell stays what it was.
When a joint call fails, or gives anything that is no probability, its halves are asked one after the other, down to the one
request whose fault it is. `answers_apart` says beforehand whether a model answers a row the same amid others: one that ranks or
scales the rows that it is given must not be asked for strangers together.

Needs numpy and pandas alone: the serving environment does it.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd

from sluice.release.golden import PREDICTION_ERRORS, describe_bad_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from numpy.typing import NDArray

    Predict: TypeAlias = Callable[[pd.DataFrame], NDArray[np.float64]]

MOST_ROWS = 64
"""Rows of one joint call. A request of more is asked alone: it has nothing to gain, and others would wait for it."""

COMPANY_TOLERANCE = 1e-12
"""Largest difference that other rows may make to a row's probability: BLAS adds up in another order, which moves the last bit."""

_TRIED_ROWS = 8


@dataclass(slots=True, eq=False)
class _Request:
    """One who asks.

    Attributes:
        frame: Its rows.
        outcome: Its probabilities, or what the model raised; None until then.
        leads: It is its turn to ask, for itself and for those who wait.
        awake: Set when it has an outcome or leads.
    """

    frame: pd.DataFrame
    outcome: NDArray[np.float64] | Exception | None = None
    leads: bool = False
    awake: threading.Event = field(default_factory=threading.Event)


class Batches:
    """A model that is asked for several requests at once; for any number of threads."""

    def __init__(self, predict: Predict) -> None:
        """`predict` gives one probability per row, shape (rows,)."""
        self._predict = predict
        self._guard = threading.Lock()
        self._waiting: deque[_Request] = deque()
        self._is_led = False

    def predict(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Probabilities of one request's rows, shape (rows,).

        Raises:
            Exception: What the model raises when it is asked for these rows alone.
        """
        if len(frame) > MOST_ROWS:
            return self._predict(frame)
        request = _Request(frame)
        with self._guard:
            if self._is_led:
                self._waiting.append(request)
            else:
                self._is_led = request.leads = True
        if not request.leads:
            request.awake.wait()
        if request.leads:
            self._lead(request)
        if isinstance(request.outcome, Exception):
            raise request.outcome
        if request.outcome is None:
            raise RuntimeError("the thread that asked for this request was interrupted")
        return request.outcome

    def _lead(self, request: _Request) -> None:
        """Ask for a request and for those who wait, then hand over to the first of those who came meanwhile."""
        batch = [request, *self._take(MOST_ROWS - len(request.frame))]
        try:
            for group in _group_by_types(batch):
                _answer(self._predict, group)
        finally:
            with self._guard:
                follower = self._waiting.popleft() if self._waiting else None
                self._is_led = follower is not None
            if follower is not None:
                follower.leads = True
                follower.awake.set()
            for answered in batch:
                answered.awake.set()

    def _take(self, rows: int) -> list[_Request]:
        """Those who wait longest, up to so many rows."""
        taken = []
        with self._guard:
            while self._waiting and len(self._waiting[0].frame) <= rows:
                taken.append(self._waiting.popleft())
                rows -= len(taken[-1].frame)
        return taken


def answers_apart(predict: Predict, frame: pd.DataFrame, found: NDArray[np.float64]) -> bool:
    """Whether a model answers rows alone as it did amid others.

    Args:
        predict: As in `Batches`.
        frame: Rows, of which some are tried.
        found: The model's answers to all of them at once.
    """
    for place in np.unique(np.linspace(0, len(frame) - 1, num=_TRIED_ROWS).astype(int)):
        try:
            alone = predict(frame.iloc[[place]])
        except PREDICTION_ERRORS:
            return False
        if alone.shape != (1,) or not abs(alone[0] - found[place]) <= COMPANY_TOLERANCE:  # a NaN is never near
            return False
    return True


def _group_by_types(batch: Iterable[_Request]) -> Collection[list[_Request]]:
    groups: dict[tuple[object, ...], list[_Request]] = {}
    for request in batch:
        groups.setdefault(tuple(request.frame.dtypes), []).append(request)
    return groups.values()


def _answer(predict: Predict, group: Sequence[_Request]) -> None:
    """Ask for requests of the same types together; where that goes wrong, for each half."""
    if len(group) == 1:
        try:
            group[0].outcome = predict(group[0].frame)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where it was asked
            group[0].outcome = error
    elif (found := _ask_together(predict, group)) is not None:
        ends = np.cumsum([len(request.frame) for request in group])
        for request, own in zip(group, np.split(found, ends[:-1]), strict=True):
            request.outcome = own
    else:
        middle = len(group) // 2
        _answer(predict, group[:middle])
        _answer(predict, group[middle:])


def _ask_together(predict: Predict, group: Sequence[_Request]) -> NDArray[np.float64] | None:
    """Probabilities of all rows; None when one of the requests spoils the call."""
    frame = pd.concat([request.frame for request in group], ignore_index=True)
    try:
        found = predict(frame)
    except Exception:  # noqa: BLE001 - asked alone, the one whose fault it is gets to see it
        return None
    return None if found.shape != (len(frame),) or describe_bad_outputs(found) else found
