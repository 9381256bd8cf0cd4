"""How events and requests are read, and which of them count."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from trigger_services import make_binary_headers, make_frame, make_reference, make_request

from sluice.drift.batches import FrameRows
from sluice.drift.profiles import count_rows
from sluice.drift.references import freeze_reference
from sluice.triggers.monitor.duplicates import SeenEvents
from sluice.triggers.monitor.events import MOST_EVENTS, BadEventError, read_arrival
from sluice.triggers.monitor.payloads import RequestCounter

REFERENCE = make_reference()
COUNTER = RequestCounter(REFERENCE)
NOW = make_frame(600, np.random.default_rng(3))


def encode(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in headers.items()}


def structured(**changes: Any) -> dict[str, Any]:
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "io.seldon.serving.inference.request", "data": {"data": {}}}
    return {key: value for key, value in (event | changes).items() if value is not None}


def test_a_binary_event_as_seldon_sends_it_is_read() -> None:
    body = json.dumps(make_request(NOW.head(1))).encode()
    arrival = read_arrival(encode(make_binary_headers("a")), body)
    assert [event.data for event in arrival.events] == [body]
    again = read_arrival(encode(make_binary_headers("a")), b"other")
    assert again.events[0].identity == arrival.events[0].identity


@pytest.mark.parametrize("kind", ["io.seldon.serving.inference.response", "io.seldon.serving.feedback", "something.else"])
def test_answers_and_feedback_are_ignored(kind: str) -> None:
    arrival = read_arrival(encode(make_binary_headers(kind=kind)), b"{}")
    assert (arrival.events, arrival.ignored) == ((), 1)


def test_structured_events_and_batches_are_the_same_events_as_binary_ones() -> None:
    request = make_request(NOW.head(1))
    headers = {b"content-type": b"application/cloudevents+json; charset=utf-8"}
    one = structured(id="a", source="http://localhost:8000/", data=request)
    found = read_arrival(headers, json.dumps(one).encode())
    binary = read_arrival(encode(make_binary_headers("a")), json.dumps(request).encode())
    assert found.events[0].identity == binary.events[0].identity
    text = base64.b64encode(json.dumps(request).encode()).decode()
    batch = [one, structured(id="b", data=None, data_base64=text), structured(id="c", type="other")]
    arrival = read_arrival({b"content-type": b"application/cloudevents-batch+json"}, json.dumps(batch).encode())
    assert (len(arrival.events), arrival.ignored) == (2, 1)
    counted = COUNTER.count([event.data for event in arrival.events])
    assert (counted.requests, counted.profile.rows) == (2, 2)


@pytest.mark.parametrize(
    ("content", "body"),
    [
        ("application/json", b"{}"),
        ("application/cloudevents+json", b"{"),
        ("application/cloudevents+json", b"[]"),
        ("application/cloudevents+json", json.dumps(structured(specversion="0.3")).encode()),
        ("application/cloudevents+json", json.dumps(structured(id="")).encode()),
        ("application/cloudevents+json", json.dumps(structured(id="x" * 2000)).encode()),
        ("application/cloudevents+json", json.dumps(structured(data_base64="%%%")).encode()),
        ("application/cloudevents+json", json.dumps(structured(data_base64=7)).encode()),
        ("application/cloudevents-batch+json", b"{}"),
        ("application/cloudevents-batch+json", b"[7]"),
        ("application/cloudevents-batch+json", json.dumps([1] * (MOST_EVENTS + 1)).encode()),
    ],
)
def test_what_is_no_event_is_refused_without_repeating_it(content: str, body: bytes) -> None:
    with pytest.raises(BadEventError) as refused:
        read_arrival({b"content-type": content.encode()}, body)
    assert "xxx" not in str(refused.value)


def test_binary_events_need_their_attributes() -> None:
    for name in ("ce-id", "ce-source", "ce-type", "ce-specversion"):
        with pytest.raises(BadEventError):
            read_arrival(encode({key: value for key, value in make_binary_headers().items() if key != name}), b"{}")


def test_the_counts_of_requests_are_those_of_the_same_rows_in_a_file() -> None:
    requests = [make_request(NOW.iloc[start : start + 7]) for start in range(0, 600, 7)]
    counted = COUNTER.count([*requests[::2], *(json.dumps(one).encode() for one in requests[1::2])])
    expected = count_rows(REFERENCE, FrameRows(lambda: [NOW], "now"))
    assert (counted.requests, counted.unusable, counted.profile.rows) == (len(requests), {}, 600)
    assert counted.profile.counts == expected.counts


def test_a_tensor_is_read_row_by_row() -> None:
    numbers = freeze_reference(FrameRows(lambda: [NOW[["amount", "age"]]], "x"))
    rows = NOW[["age", "amount"]].dropna().to_numpy()
    request = {"data": {"names": ["age", "amount"], "tensor": {"shape": list(rows.shape), "values": rows.ravel().tolist()}}}
    counted = RequestCounter(numbers).count([request])
    expected = count_rows(numbers, FrameRows(lambda: [NOW.dropna()], "now"))
    assert counted.profile.counts == expected.counts


def test_columns_may_come_in_any_order_and_with_others() -> None:
    frame = NOW.assign(extra=1)[["extra", *reversed(NOW.columns)]]
    assert COUNTER.count([make_request(frame)]).profile.counts == COUNTER.count([make_request(NOW)]).profile.counts


GOOD = make_request(NOW.head(2))


def change(**changes: Any) -> dict[str, Any]:
    return {"data": GOOD["data"] | changes}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        (b'{"data": {"names": ["a"], "ndarray": [[NaN]]}}', "not JSON"),
        ([], "not the V1 protocol"),
        ({"inputs": []}, "not the V1 protocol"),
        ({"strData": "x"}, "not the V1 protocol"),
        (change(ndarray=None), "not the V1 protocol"),
        (change(ndarray=[1, 2]), "not the V1 protocol"),
        ({"data": {"names": ["a"], "tensor": {"shape": [2, 2], "values": [1]}}}, "not the V1 protocol"),
        ({"data": {"names": ["a"], "tensor": {"shape": [-1, -1], "values": [1]}}}, "not the V1 protocol"),
        ({"data": {"ndarray": [[1]]}}, "no names"),
        (change(names=[1, 2, 3, 4]), "no names"),
        (change(names=["amount", "age", "zone"], ndarray=[[1, 2, "north"]]), "columns"),
        (change(names=["amount", "age", "zone", "zone"]), "columns"),
        (change(ndarray=[[1, 2, "north"]]), "row length"),
        (change(ndarray=[["1", 2, "north", True]]), "cell type"),
        (change(ndarray=[[1, 2, 3, True]]), "cell type"),
        (change(ndarray=[[1, [2], "north", True]]), "cell type"),
    ],
)
def test_a_request_that_the_model_server_refuses_does_not_count(body: Any, reason: str) -> None:
    counted = COUNTER.count([GOOD, body, GOOD])
    assert counted.unusable == {reason: 1}
    assert (counted.requests, counted.profile.rows, counted.profile.faults) == (2, 4, {})
    assert counted.profile.counts == COUNTER.count([GOOD, GOOD]).profile.counts


def test_times_and_empty_columns_are_counted_as_in_the_reference() -> None:
    times = [dt.datetime(2026, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None) + dt.timedelta(hours=number) for number in range(600)]
    frame = pd.DataFrame({"at": times, "since": times, "empty": [None] * 600, "amount": NOW["amount"]})
    reference = freeze_reference(FrameRows(lambda: [frame], "x"), columns=["at", "empty", "amount"])
    part = freeze_reference(FrameRows(lambda: [frame], "x"))
    rows = [[time.isoformat(), time.isoformat(), None, 1.0] for time in times[:300]]
    request = {"data": {"names": list(frame.columns), "ndarray": rows}}
    assert RequestCounter(reference).count([request]).profile.counts["at"][:5] == (60, 60, 60, 60, 60)
    assert RequestCounter(part).count([request]).profile.counts["since"] == (300, 0)
    assert RequestCounter(part).count([request]).profile.counts["empty"] == (0, 300)
    bad = {"data": {"names": list(frame.columns), "ndarray": [["soon", None, None, 1.0]]}}
    assert RequestCounter(reference).count([bad]).unusable == {"time": 1}
    assert RequestCounter(part).count([bad]).profile.counts["at"] == (1, 0)


def test_new_categories_are_kept_as_hashes_of_a_fixed_length() -> None:
    frame = NOW.assign(zone=["a secret text"] * 500 + ["x" * 10_000] * 100)
    found = COUNTER.count([make_request(frame)]).profile.new["zone"]
    assert sorted(found.values()) == [100, 500]
    assert {len(name) for name in found} == {16}


def test_duplicates_are_found_within_a_bound_of_memory() -> None:
    seen = SeenEvents(100)
    assert all(seen.add(number) for number in range(150))
    assert not any(seen.add(number) for number in range(50, 150))
    assert all(seen.add(number) for number in range(1_000, 1_200))
    assert seen.add(0)
    assert len(seen._new) + len(seen._old) <= 200
