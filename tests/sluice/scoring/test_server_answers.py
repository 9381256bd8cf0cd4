"""Real Seldon microservices of the temporary project, in the serving environment."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from release_project import REPOSITORY, processes_of

from sluice.errors import DataError, ServiceError
from sluice.project.projects import read_project
from sluice.rollout.decisions.shadow_comparisons import Comparison
from sluice.rollout.shadows import HttpShadowComparer
from sluice.scoring.recent_requests import MAX_KEPT_ROWS, add_token
from sluice.scoring.server_process import start_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_project import Trained

    from sluice.scoring.server_process import ReleaseServer


def row(served: ReleaseServer, **changes: object) -> dict[str, Any]:
    cells = dict(zip(served.golden.names, served.golden.rows[0], strict=True)) | changes
    return {"data": {"names": list(cells), "ndarray": [list(cells.values())]}}


def test_golden_rows_are_equal_over_http(served: ReleaseServer) -> None:
    assert served.predict(served.golden.frame()).tobytes() == served.golden.expected.tobytes()


def test_one_row_at_a_time(served: ReleaseServer) -> None:
    frame = served.golden.frame()
    found = [served.predict(frame.iloc[[number]])[0] for number in range(20)]
    np.testing.assert_allclose(found, served.golden.expected[:20], rtol=0, atol=1e-15)


def test_columns_may_have_another_order(served: ReleaseServer) -> None:
    frame = served.golden.frame()
    assert (served.predict(frame[frame.columns[::-1]]) == served.golden.expected).all()


def test_the_answer_names_the_release(served: ReleaseServer) -> None:
    response = served.post(row(served) | {"meta": {"puid": "p1", "tags": {"outer": 1, "release": "forged"}}})
    assert response.status_code == 200
    answer = response.json()
    assert answer["data"]["names"] == ["probability"]
    assert answer["data"]["ndarray"] == [[served.predict(served.golden.frame()[:1])[0]]]
    assert answer["meta"] == {"puid": "p1", "tags": {"outer": 1, "release": served.digest}}


def test_readiness_names_the_release(served: ReleaseServer) -> None:
    response = httpx.get(f"{served.url}/health/status", trust_env=False)
    assert (response.status_code, response.json()["meta"]["tags"]) == (200, {"release": served.digest})


def test_nulls_and_unknown_categories_are_answered(served: ReleaseServer) -> None:
    for changes in ({"weight": None}, {"zone": None}, {"zone": "the moon"}, {"shipped_at": None}):
        response = served.post(row(served, **changes))
        assert response.status_code == 200, response.text
        assert 0 <= response.json()["data"]["ndarray"][0][0] <= 1


def test_a_request_without_rows_gets_no_probabilities(served: ReleaseServer) -> None:
    response = served.post({"data": {"names": served.golden.names, "ndarray": []}})
    assert (response.status_code, response.json()["data"]["ndarray"]) == (200, [])


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON"),
        ("null", "JSON"),
        ("5", 'no object "data"'),
        ([], 'no object "data"'),
        ({}, 'no object "data"'),
        ({"data": []}, 'no object "data"'),
        ({"strData": "a"}, 'no object "data"'),
        ({"data": {"ndarray": [[1]]}}, "data.names is not a list"),
        ({"data": {"names": "weight", "ndarray": [[1]]}}, "data.names is not a list"),
        ({"data": {"names": [1], "ndarray": [[1]]}}, "data.names is not a list"),
        ({"data": {"names": ["weight"], "ndarray": [[1]]}}, "missing: zone, express, items, shipped_at"),
        ({"data": {"names": ["weight"]}}, "data.ndarray is not a list of rows"),
        ({"data": {"names": ["weight"], "ndarray": {"a": 1}}}, "data.ndarray is not a list of rows"),
        ({"data": {"names": ["weight"], "ndarray": [1]}}, "missing"),
        ({"data": {"names": ["weight"], "tensor": {"shape": [2, 2], "values": [1]}}}, "data.tensor cannot be read"),
        ({"data": {"names": ["weight"], "tensor": {"values": [1]}}}, "data.tensor cannot be read"),
        ({"data": {"names": ["weight"], "tensor": {"shape": [1], "values": [1]}}}, "it must have rows and columns"),
        ({"data": {"names": ["weight"], "tensor": {"shape": [1, 1], "values": ["x"]}}}, "data.tensor cannot be read"),
    ],
)
def test_a_malformed_request_is_answered_with_400_and_the_reason(served: ReleaseServer, payload: object, reason: str) -> None:
    response = served.post(payload)
    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/json"
    status = response.json()["status"]
    assert reason in status["info"]
    assert status["reason"] == "MICROSERVICE_BAD_DATA"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weight": "heavy"}, "column 'weight' must contain a number, but row 0 has 'heavy'"),
        ({"weight": [1]}, "column 'weight' must contain a number"),
        ({"express": "yes"}, "column 'express' must contain true or false"),
        ({"zone": 5}, "column 'zone' must contain text"),
        ({"shipped_at": "yesterday"}, "column 'shipped_at' must contain a time"),
        ({"more": 1}, "unknown: more"),
    ],
)
def test_a_cell_of_another_kind_is_answered_with_400_and_the_reason(
    served: ReleaseServer, changes: dict[str, object], reason: str
) -> None:
    response = served.post(row(served, **changes))
    assert response.status_code == 400
    assert reason in response.json()["status"]["info"]


def test_rows_of_another_length_are_answered_with_400_and_the_reason(served: ReleaseServer) -> None:
    payload = row(served)
    payload["data"]["ndarray"].append([1])
    response = served.post(payload)
    assert (response.status_code, "row 1 has 1 values, but there are 5 names" in response.text) == (400, True)


@pytest.mark.parametrize(("weight", "reason"), [(1.5e6, "row 0 is nan"), (3e6, "row 0 is 1.5")])
def test_a_value_that_is_not_a_probability_is_an_error_of_the_release(served: ReleaseServer, weight: float, reason: str) -> None:
    response = served.post(row(served, weight=weight))
    assert response.status_code == 500
    assert reason in response.json()["status"]["info"]
    assert response.json()["status"]["reason"] == "MICROSERVICE_BAD_OUTPUT"


def test_a_model_that_fails_is_an_error_of_the_release(served: ReleaseServer) -> None:
    response = served.post(row(served, items=None))
    assert response.status_code == 500
    assert "the model failed on these rows: ValueError" in response.json()["status"]["info"]


def test_requests_on_other_paths_and_with_other_methods_have_their_status(served: ReleaseServer) -> None:
    text = json.dumps(row(served))
    client = httpx.Client(base_url=served.url, trust_env=False)
    assert client.post("/predict", data={"json": text}).status_code == 200
    assert client.post("/predict", data={"json": "{"}).status_code == 400
    assert client.post("/api/v1.0/predictions", content=text, headers={"content-type": "text/plain"}).status_code == 415
    assert client.get("/nowhere").status_code == 404
    assert client.get("/nowhere").json()["status"]["reason"] == "MICROSERVICE_HTTP_ERROR"
    assert client.put("/predict").status_code == 405


def test_a_tensor_is_answered_with_a_tensor(served: ReleaseServer) -> None:
    nan = float("nan")
    values = {"weight": 3.25, "zone": nan, "express": 1.0, "items": 4.0, "shipped_at": nan}
    tensor = {"shape": [2, 5], "values": [*values.values(), *values.values()]}
    answer = served.post({"data": {"names": list(values), "tensor": tensor}}).json()
    as_row = served.post(row(served, weight=3.25, zone=None, express=True, items=4, shipped_at=None)).json()
    assert answer["data"]["tensor"] == {"shape": [2, 1], "values": as_row["data"]["ndarray"][0] * 2}


def test_the_client_raises_errors_with_the_servers_reason(served: ReleaseServer) -> None:
    with pytest.raises(DataError, match="missing: weight"):
        served.predict(served.golden.frame().drop(columns="weight"))
    with pytest.raises(ServiceError, match="answered 500: the model returned values that are not probabilities"):
        served.predict(served.golden.frame()[:1].assign(weight=3e6))


def test_parallel_requests_get_equal_answers(served: ReleaseServer) -> None:
    frame, found = served.golden.frame(), []
    threads = [threading.Thread(target=lambda: found.append(served.predict(frame).tobytes())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [served.golden.expected.tobytes()] * 8


def test_parallel_requests_are_answered_and_refused_independently(served: ReleaseServer) -> None:
    cells = dict(zip(served.golden.names, served.golden.rows[0], strict=True))
    kinds: list[tuple[dict[str, Any], int, str]] = [
        *(({"weight": float(weight)}, 200, "probability") for weight in range(1, 5)),
        ({"weight": 1.5e6}, 500, "1 of 1 probabilities are not in [0, 1]; row 0 is nan"),
        ({"items": None}, 500, "the model failed on these rows: ValueError"),
        ({"weight": "heavy"}, 400, "row 0 has 'heavy'"),
    ]
    alone = [served.post(row(served, **changes)) for changes, *_ in kinds]

    def ask(number: int) -> None:
        with httpx.Client(base_url=served.url, trust_env=False) as client:
            for turn in range(20):
                place = (number + turn) % len(kinds)
                changes, status, text = kinds[place]
                payload = {"data": {"names": served.golden.names, "ndarray": [list((cells | changes).values())]}}
                response = client.post("/api/v1.0/predictions", json=payload)
                assert (response.status_code, text in response.text) == (status, True), response.text
                if status == 200:
                    found, expected = (answer.json()["data"]["ndarray"][0][0] for answer in (response, alone[place]))
                    assert abs(found - expected) <= 1e-12

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [None] * 16


def test_the_server_listens_only_on_the_loopback_interface(served: ReleaseServer) -> None:
    listening = set()
    for pid in processes_of(served.pid):
        nodes = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
        for name in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in nodes:
                    listening.add(fields[1])
    assert listening == {f"0100007F:{served.port:04X}"}


def test_no_request_is_kept_by_default(served: ReleaseServer) -> None:
    served.post(row(served))
    assert httpx.get(f"{served.url}/recent", trust_env=False).status_code == 404


@pytest.fixture
def keeping(trained: Trained, layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleaseServer]:
    """A server that keeps its most recent requests."""
    monkeypatch.setenv("SLUICE_ROLLOUT__SHADOW_REQUESTS", "1")
    project = read_project(trained.project.root)
    with start_server(project, layer, f"sha256:{layer.name}", log=tmp_path / "log.txt") as served:
        yield served


def test_recent_requests_are_returned_to_a_rollout_but_not_to_a_web_page(keeping: ReleaseServer) -> None:
    sent = row(keeping)
    answer = keeping.post(sent).json()
    assert keeping.post({"data": {"names": ["nothing"], "ndarray": [[1]]}}).status_code == 400
    recent = httpx.get(f"{keeping.reader_url}/recent", trust_env=False).json()["requests"]
    assert [(one["number"], one["data"]) for one in recent] == [(1, sent["data"])]
    assert [recent[0]["probabilities"]] == answer["data"]["ndarray"]
    for _ in range(70):
        keeping.post(sent)
    numbers = [one["number"] for one in httpx.get(f"{keeping.reader_url}/recent", trust_env=False).json()["requests"]]
    assert numbers == list(range(8, 72))
    for page in ({"Origin": "https://example.com"}, {"Host": "rebound.example.com"}):
        assert httpx.get(f"{keeping.reader_url}/recent", headers=page, trust_env=False).status_code == 403


def test_recent_requests_are_returned_only_with_the_token_that_was_made_for_the_server(keeping: ReleaseServer) -> None:
    keeping.post(row(keeping))
    for url in (keeping.url, add_token(keeping.url, "another token"), add_token(keeping.url, "")):
        answer = httpx.get(f"{url}/recent", trust_env=False)
        assert (answer.status_code, answer.json()["status"]["reason"]) == (401, "MICROSERVICE_HTTP_ERROR")
    token = httpx.URL(keeping.reader_url).password
    environment = "".join(Path(f"/proc/{pid}/environ").read_text() for pid in processes_of(keeping.pid))
    assert len(token) >= 40
    assert token not in environment + keeping.log.read_text(), "a server cannot give away what it does not know"


def test_a_shadow_of_the_same_release_finds_no_difference_for_any_request(keeping: ReleaseServer) -> None:
    """Clients also send NaN for a missing number, texts that UTF-8 cannot represent, and more rows than are kept."""
    sent = [row(keeping), row(keeping, weight=float("nan")), row(keeping, zone="\ud800"), row(keeping, zone=None)]
    long = {"data": {"names": keeping.golden.names, "ndarray": keeping.golden.rows[: MAX_KEPT_ROWS + 5]}}
    answered = [keeping.post(one).status_code for one in [*sent, long]]
    shadow = HttpShadowComparer(5.0)
    shadow.poll("r", [keeping.reader_url], keeping.reader_url)
    shadow._thread.join(10)  # type: ignore[union-attr]
    found = shadow.poll("r", [keeping.reader_url], keeping.reader_url)
    assert found == Comparison(requests=answered.count(200))
    assert answered[-1] == 200


def test_the_log_names_the_release_and_contains_no_requests(served: ReleaseServer) -> None:
    served.post(row(served))
    served.post(row(served, zone=5, weight="a secret weight"))
    text = served.log.read_text()
    assert "secret" not in text
    assert f"release {served.digest} is ready" in text
    assert "golden rows are equal to the last bit" in text
    assert "requests that wait at the same time share one call of the model" in text
    assert "predictions" not in text


def test_grpc_messages_are_answered(layer: Path) -> None:
    code = """\
import sys; sys.path.insert(0, sys.argv[1])
import json, os
from seldon_core.proto import prediction_pb2 as pb
from seldon_core import seldon_methods
from google.protobuf import json_format
from serving.model_server import ModelServer
server = ModelServer(); server.load()
class Metrics:
    def update(self, *_): pass
golden = server._scorer.golden
message = pb.SeldonMessage()
json_format.ParseDict({"data": {"names": golden.names, "ndarray": golden.rows[:1]}}, message)
answer = json_format.MessageToDict(seldon_methods.predict(server, message, Metrics()))
assert answer["meta"]["tags"]["release"] == os.environ["SLUICE_RELEASE_DIGEST"]
as_json = server.predict_raw({"data": {"names": golden.names, "ndarray": golden.rows[:1]}})
print(answer["data"]["ndarray"] == as_json["data"]["ndarray"])
"""
    environment = {**os.environ, "SLUICE_RELEASE_FOLDER": str(layer), "SLUICE_RELEASE_DIGEST": f"sha256:{layer.name}"}
    command = [REPOSITORY / ".venv-serving/bin/python", "-c", code, REPOSITORY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout == "True\n", done.stderr


def test_seldons_own_metrics_are_kept() -> None:
    code = """\
import sys; sys.path.insert(0, sys.argv[1])
from seldon_core.metrics import SeldonMetrics
import serving.model_server
class Metrics(SeldonMetrics):
    def __init__(self):
        self.data, self._lock, self.worker_id_func = {}, __import__("threading").Lock(), lambda: 1
    def __del__(self):
        pass
metrics = Metrics()
metrics.update([], "predict")
print(metrics.data)
metrics.update_reward(0.5)
print(sorted(key[1] for key in metrics.data[1]))
"""
    command = [REPOSITORY / ".venv-serving/bin/python", "-c", code, REPOSITORY]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout == "{}\n['seldon_api_model_feedback', 'seldon_api_model_feedback_reward']\n", done.stderr


def test_the_server_has_no_socket_for_commands(served: ReleaseServer) -> None:
    sockets = [parts for line in Path("/proc/net/unix").read_text().splitlines() if len(parts := line.split()) > 7]
    for pid in processes_of(served.pid):
        nodes = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
        assert [parts[7] for parts in sockets if f"socket:[{parts[6]}]" in nodes and "gunicorn" in parts[7]] == []
