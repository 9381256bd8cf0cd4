"""Answer requests that wait at the same time with one call of the model.

A call of a pandas and scikit-learn pipeline costs milliseconds, and each further row costs microseconds. A request that arrives
while the model is idle is therefore answered at once, by its own thread. Requests that arrive during this call wait. Then the
thread of the first waiting request (the leader) calls the model for all of them. There is no timer and no additional thread, so a
single request is as fast as without batching.

The requests stay independent of each other. Frames are joined only if their columns have the same types, so no cell changes its
type. If a joint call fails, or returns values that are not probabilities, the model is called for each half of the batch, and so
on down to the single request that causes the failure. `rows_are_independent` checks beforehand whether a model gives a row the
same answer alone and among others. If not (for example because it ranks or scales the rows of a call), requests must not be
joined.

This module needs only numpy and pandas, because the serving environment uses it.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd

from sluice.release.golden_rows import PREDICTION_ERRORS, describe_bad_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from numpy.typing import NDArray

    Predict: TypeAlias = Callable[[pd.DataFrame], NDArray[np.float64]]

MAX_BATCH_ROWS = 64
"""The largest number of rows in a joint call. A larger request gets its own call, because others would have to wait for it."""

BATCH_TOLERANCE = 1e-12
"""The largest difference that other rows in a call may make to a row's probability.

BLAS adds up in another order then, which changes the last bit.
"""

_SAMPLED_ROWS = 8


@dataclass(slots=True, eq=False)
class _Request:
    """One request.

    Attributes:
        frame: The request's rows.
        outcome: The probabilities, or the error that the model raised; None before the call.
        is_leader: Whether its thread calls the model, for this request and for those that wait.
        wakeup: Set when the request has an outcome or becomes the leader.
    """

    frame: pd.DataFrame
    outcome: NDArray[np.float64] | Exception | None = None
    is_leader: bool = False
    wakeup: threading.Event = field(default_factory=threading.Event)


class RequestBatcher:
    """Calls a model for several requests at once. Any number of threads may use it."""

    def __init__(self, predict: Predict) -> None:
        """Set the model: `predict` returns one probability per row, shape (rows,)."""
        self._predict = predict
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()
        self._has_leader = False

    def predict(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return the probabilities of one request's rows, shape (rows,).

        Raises:
            Exception: The error that the model raises when it is called with these rows only.
        """
        if len(frame) > MAX_BATCH_ROWS:
            return self._predict(frame)
        request = _Request(frame)
        with self._lock:
            if self._has_leader:
                self._waiting.append(request)
            else:
                self._has_leader = request.is_leader = True
        if not request.is_leader:
            request.wakeup.wait()
        if request.is_leader:
            self._run_batch(request)
        if isinstance(request.outcome, Exception):
            raise request.outcome
        if request.outcome is None:
            raise RuntimeError("the thread that called the model for this request was interrupted")
        return request.outcome

    def _run_batch(self, leader: _Request) -> None:
        """Call the model for the leader and for those that wait, then make the first of the newly waiting requests the leader."""
        batch = [leader, *self._take_waiting(MAX_BATCH_ROWS - len(leader.frame))]
        try:
            for group in _group_by_types(batch):
                _answer_group(self._predict, group)
        finally:
            with self._lock:
                follower = self._waiting.popleft() if self._waiting else None
                self._has_leader = follower is not None
            if follower is not None:
                follower.is_leader = True
                follower.wakeup.set()
            for answered in batch:
                answered.wakeup.set()

    def _take_waiting(self, rows: int) -> list[_Request]:
        """Remove and return the requests that have waited longest, with at most so many rows together."""
        taken = []
        with self._lock:
            while self._waiting and len(self._waiting[0].frame) <= rows:
                taken.append(self._waiting.popleft())
                rows -= len(taken[-1].frame)
        return taken


def rows_are_independent(predict: Predict, frame: pd.DataFrame, found: NDArray[np.float64]) -> bool:
    """Return whether a model gives rows the same answers alone as among other rows.

    Args:
        predict: The model, as for `RequestBatcher`.
        frame: Rows. A sample of them is tested.
        found: The model's answers to all of these rows in one call.
    """
    for place in np.unique(np.linspace(0, len(frame) - 1, num=_SAMPLED_ROWS).astype(int)):
        try:
            alone = predict(frame.iloc[[place]])
        except PREDICTION_ERRORS:
            return False
        if alone.shape != (1,) or not abs(alone[0] - found[place]) <= BATCH_TOLERANCE:  # written so that NaN counts as different
            return False
    return True


def _group_by_types(batch: Iterable[_Request]) -> Collection[list[_Request]]:
    groups: dict[tuple[object, ...], list[_Request]] = {}
    for request in batch:
        groups.setdefault(tuple(request.frame.dtypes), []).append(request)
    return groups.values()


def _answer_group(predict: Predict, group: Sequence[_Request]) -> None:
    """Call the model for requests with the same column types together. If that fails, call it for each half."""
    if len(group) == 1:
        try:
            group[0].outcome = predict(group[0].frame)
        except Exception as error:  # noqa: BLE001 - any error is raised again in the request's own thread
            group[0].outcome = error
    elif (found := _predict_together(predict, group)) is not None:
        ends = np.cumsum([len(request.frame) for request in group])
        for request, own in zip(group, np.split(found, ends[:-1]), strict=True):
            request.outcome = own
    else:
        middle = len(group) // 2
        _answer_group(predict, group[:middle])
        _answer_group(predict, group[middle:])


def _predict_together(predict: Predict, group: Sequence[_Request]) -> NDArray[np.float64] | None:
    """Return the probabilities of all rows, or None if the joint call fails."""
    frame = pd.concat([request.frame for request in group], ignore_index=True)
    try:
        found = predict(frame)
    except Exception:  # noqa: BLE001 - the request that causes the error gets it when it is answered alone
        return None
    return None if found.shape != (len(frame),) or describe_bad_outputs(found) else found
