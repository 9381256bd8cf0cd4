"""Requests are joined into one call of the model. The tests pause the model, so that other requests arrive meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from release_project import wait_until

from sluice.release.feature_columns import Column, rows_to_frame
from sluice.scoring.batching import MAX_BATCH_ROWS, RequestBatcher, rows_are_independent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sluice.scoring.batching import Predict

TIMEOUT_SECONDS = 30.0
BAD, NOT_A_NUMBER, TOO_LARGE = 66.0, 77.0, 88.0


class Model:
    """A model that returns a hundredth of each row's number. A test can pause it in the middle of a call."""

    def __init__(self) -> None:
        self.calls: list[pd.DataFrame] = []
        self.entered = threading.Event()
        self.may_continue = threading.Event()
        self.may_continue.set()

    def __call__(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        self.calls.append(frame)
        self.entered.set()
        assert self.may_continue.wait(TIMEOUT_SECONDS)
        numbers = frame["number"].to_numpy(dtype=np.float64)
        if (numbers == BAD).any():
            raise RuntimeError(f"a bad row among {len(frame)}")
        numbers = np.where(numbers == NOT_A_NUMBER, np.nan, numbers)
        return np.where(numbers == TOO_LARGE, 150.0, numbers) / 100

    @property
    def sizes(self) -> list[int]:
        return [len(frame) for frame in self.calls]


@pytest.fixture
def model() -> Model:
    return Model()


def rows(*numbers: float) -> pd.DataFrame:
    return pd.DataFrame({"number": np.array(numbers, dtype=np.float64)})


def ask_together(batches: RequestBatcher, model: Model, frames: Sequence[pd.DataFrame]) -> list[Future[NDArray[np.float64]]]:
    """Send the first request, pause the model until the others wait in this order, and let all of them finish."""
    model.may_continue.clear()
    model.entered.clear()
    with ThreadPoolExecutor(len(frames)) as pool:
        futures = [pool.submit(batches.predict, frames[0])]
        try:
            assert model.entered.wait(TIMEOUT_SECONDS)
            for frame in frames[1:]:
                before = len(batches._waiting)
                futures.append(pool.submit(batches.predict, frame))
                assert wait_until(lambda before=before: len(batches._waiting) > before)  # type: ignore[misc]
        finally:
            model.may_continue.set()
    return futures


def test_a_single_request_is_passed_to_the_model_unchanged(model: Model) -> None:
    frame = rows(1, 2)
    batches = RequestBatcher(model)
    assert batches.predict(frame).tolist() == [0.01, 0.02]
    assert batches.predict(rows(3)).tolist() == [0.03]
    assert model.calls[0] is frame
    assert model.sizes == [2, 1]


def test_waiting_requests_share_one_call_and_get_their_own_answers(model: Model) -> None:
    futures = ask_together(RequestBatcher(model), model, [rows(1), rows(2), rows(), rows(3, 4), rows(5)])
    assert [future.result().tolist() for future in futures] == [[0.01], [0.02], [], [0.03, 0.04], [0.05]]
    assert model.sizes == [1, 4]


def test_the_number_of_rows_in_one_call_is_limited(model: Model) -> None:
    batches = RequestBatcher(model)
    frames = [rows(0), *(rows(*[number] * (MAX_BATCH_ROWS // 4)) for number in range(1, 7))]
    futures = ask_together(batches, model, frames)
    assert [set(future.result()) for future in futures] == [{number / 100} for number in range(7)]
    assert model.sizes == [1, MAX_BATCH_ROWS, MAX_BATCH_ROWS // 2]


def test_a_large_request_does_not_wait(model: Model) -> None:
    batches = RequestBatcher(model)
    model.may_continue.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(batches.predict, rows(1))
        try:
            assert model.entered.wait(TIMEOUT_SECONDS)
            batches._predict = lambda frame: np.zeros(len(frame))
            assert batches.predict(rows(*range(MAX_BATCH_ROWS + 1))).shape == (MAX_BATCH_ROWS + 1,)
            assert not waiting.done()
        finally:
            model.may_continue.set()


@pytest.mark.parametrize("place", range(1, 8))
def test_a_bad_row_fails_only_its_own_request(model: Model, place: int) -> None:
    frames = [rows(number) for number in range(8)]
    frames[place] = rows(1, BAD)
    futures = ask_together(RequestBatcher(model), model, frames)
    with pytest.raises(RuntimeError, match="a bad row among 2"):
        futures.pop(place).result()
    assert [future.result().tolist() for future in futures] == [[number / 100] for number in range(8) if number != place]


@pytest.mark.parametrize("value", [NOT_A_NUMBER, TOO_LARGE])
def test_a_value_that_is_not_a_probability_affects_only_its_own_request(model: Model, value: float) -> None:
    futures = ask_together(RequestBatcher(model), model, [rows(0), rows(1), rows(value), rows(2)])
    assert [futures[place].result().tolist() for place in (0, 1, 3)] == [[0.0], [0.01], [0.02]]
    assert not 0 <= futures[2].result()[0] <= 1
    assert rows(value)["number"].tolist() in [frame["number"].tolist() for frame in model.calls]  # it had its own call


def test_several_bad_requests_each_get_their_own_error(model: Model) -> None:
    futures = ask_together(RequestBatcher(model), model, [rows(BAD)] * 4)
    assert [str(future.exception()) for future in futures] == ["a bad row among 1"] * 4
    assert len({id(future.exception()) for future in futures}) == 4


def test_a_joint_call_with_a_wrong_number_of_answers_is_split(model: Model) -> None:
    batches = RequestBatcher(model)
    batches._predict = lambda frame: model(frame)[: 1 if len(frame) == 3 else None]
    futures = ask_together(batches, model, [rows(0), rows(1), rows(2), rows(3)])
    assert [future.result().tolist() for future in futures] == [[0.0], [0.01], [0.02], [0.03]]


def test_frames_with_different_types_are_not_joined(model: Model) -> None:
    whole = pd.DataFrame({"number": [1, 2]})
    futures = ask_together(RequestBatcher(model), model, [rows(0), whole, rows(3), whole, rows(4)])
    assert [future.result().tolist() for future in futures] == [[0.0], [0.01, 0.02], [0.03], [0.01, 0.02], [0.04]]
    assert [(len(frame), str(frame["number"].dtype)) for frame in model.calls[1:]] == [(4, "int64"), (2, "float64")]


COLUMNS: list[tuple[Column, list[Any]]] = [
    (Column("c", "boolean", "bool"), [True, False]),
    (Column("c", "boolean", "boolean"), [True, None]),
    (Column("c", "boolean", "object"), [True, None]),
    (Column("c", "integer", "int8"), [1, -2]),
    (Column("c", "integer", "uint64"), [1, 2**63]),
    (Column("c", "integer", "Int64"), [2**60 + 1, 5]),
    (Column("c", "number", "float32"), [0.1, None]),
    (Column("c", "number", "Float64"), [0.1, None]),
    (Column("c", "number", "object"), [1, 2.5]),
    (Column("c", "text", "str"), ["a", None]),
    (Column("c", "text", "object"), ["a", None]),
    (Column("c", "time", "datetime64[us]"), ["2024-05-17T12:00:00.000001", None]),
    (Column("c", "time", "datetime64[ns, UTC]"), ["2024-05-17T12:00:00Z", None]),
    (Column("c", "category", "category", ("x", "y"), ordered=True), ["y", "unseen"]),
]


@pytest.mark.parametrize(("column", "cells"), COLUMNS, ids=lambda value: getattr(value, "dtype", ""))
def test_cells_of_every_type_are_unchanged_in_a_joint_call(column: Column, cells: list[Any]) -> None:
    calls = []

    def remember(frame: pd.DataFrame) -> NDArray[np.float64]:
        if calls.append(frame) or len(calls) == 1:
            model(frame.assign(number=0.0))
        return np.zeros(len(frame))

    model = Model()
    frames = [rows_to_frame(["c"], [[cell]], [column]) for cell in (cells[0], *cells)]
    ask_together(RequestBatcher(remember), model, frames)
    assert [len(frame) for frame in calls] == [1, 2]
    pd.testing.assert_frame_equal(calls[1], rows_to_frame(["c"], [[cell] for cell in cells], [column]))


def test_many_threads_get_their_own_answers(model: Model) -> None:
    batches = RequestBatcher(model)

    def ask(seed: int) -> int:
        generator, checked = np.random.default_rng(seed), 0
        for _ in range(40):
            numbers = generator.integers(0, 100, generator.integers(1, 9)).astype(np.float64).tolist()
            try:
                found = batches.predict(rows(*numbers))
            except RuntimeError:
                assert BAD in numbers
            else:
                assert BAD not in numbers
                expected = [{NOT_A_NUMBER: float("nan"), TOO_LARGE: 150.0}.get(number, number) / 100 for number in numbers]
                np.testing.assert_array_equal(found, expected)
            checked += 1
        return checked

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [40] * 16
    assert not batches._waiting
    assert not batches._has_leader


def test_an_interrupted_thread_leaves_no_request_waiting(model: Model) -> None:
    batches = RequestBatcher(model)

    def interrupt(frame: pd.DataFrame) -> NDArray[np.float64]:
        found = model(frame)
        if len(frame) == 2:
            raise SystemExit
        return found

    batches._predict = interrupt
    futures = ask_together(batches, model, [rows(0), rows(1), rows(2)])
    assert [type(future.exception()) for future in futures] == [type(None), SystemExit, RuntimeError]
    assert batches.predict(rows(3)).tolist() == [0.03]


def ranks(frame: pd.DataFrame) -> NDArray[np.float64]:
    return frame["number"].rank(pct=True).to_numpy()


def standardises(frame: pd.DataFrame) -> NDArray[np.float64]:
    return ((frame["number"] - frame["number"].mean()) / frame["number"].std()).to_numpy()


def needs_two_rows(frame: pd.DataFrame) -> NDArray[np.float64]:
    if len(frame) == 1:
        raise ValueError("at least two rows")
    return frame["number"].to_numpy() / 100


def differs_alone(by: float) -> Callable[[pd.DataFrame], NDArray[np.float64]]:
    return lambda frame: frame["number"].to_numpy() / 100 + (by if len(frame) == 1 else 0)


@pytest.mark.parametrize(
    ("predict", "independent"),
    [
        (differs_alone(0.0), True),
        (differs_alone(1e-16), True),
        (differs_alone(1e-9), False),
        (ranks, False),
        (standardises, False),
        (needs_two_rows, False),
    ],
)
@pytest.mark.parametrize("count", [2, 5, 100])
def test_a_model_whose_answers_depend_on_other_rows_is_detected(predict: Predict, independent: bool, count: int) -> None:
    frame = rows(*map(float, range(count)))
    assert rows_are_independent(predict, frame, predict(frame)) is independent
