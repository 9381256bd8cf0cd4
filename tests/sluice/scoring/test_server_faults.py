"""What real Seldon microservices answer to bodies that they cannot read, and what they keep of their faults."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sluice.project.projects import read_project
from sluice.scoring.faults import MAX_BODY_BYTES, MAX_KEPT_REQUESTS, MAX_REQUEST_BYTES
from sluice.scoring.server_process import start_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from release_project import Trained

    from sluice.scoring.server_process import ReleaseServer

DEEP = "[" * 100_000 + "]" * 100_000
LONG = "9" * 5000


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", DEEP),
        ("application/json", f'{{"data": {{"names": ["weight"], "ndarray": {DEEP}}}}}'),
        ("application/json", f'{{"data": {{"names": ["weight"], "ndarray": [[{LONG}]]}}}}'),
        ("application/json", f'{{"data": {{"names": ["weight"], "tensor": {{"shape": [1, 1], "values": [{"9" * 400}]}}}}}}'),
        ("application/x-www-form-urlencoded", f"json={LONG}"),
        ("application/x-www-form-urlencoded", "json=" + "[" * 100_000),
    ],
    ids=["nested", "nested rows", "long number", "large tensor", "form number", "form nested"],
)
def test_a_body_that_cannot_be_read_is_never_an_error_of_the_release(served: ReleaseServer, content_type: str, body: str) -> None:
    headers = {"content-type": content_type}
    response = httpx.post(f"{served.url}/api/v1.0/predictions", content=body, headers=headers, trust_env=False, timeout=30)
    assert (response.status_code, response.headers["content-type"]) == (400, "application/json"), response.text[:200]


def test_a_multipart_body_is_refused_before_it_is_parsed(served: ReleaseServer) -> None:
    """The parser of werkzeug 2.2 takes minutes for this body (CVE-2023-46136)."""
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n\r' + b"a" * 3_000_000 + b"\r\n--x--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    response = httpx.post(f"{served.url}/api/v1.0/predictions", content=part, headers=headers, trust_env=False, timeout=20)
    assert (response.status_code, response.headers["content-type"]) == (415, "application/json")
    assert "send JSON" in response.json()["status"]["info"]


def test_a_large_body_is_refused_before_it_is_read(served: ReleaseServer) -> None:
    for _ in range(2):
        response = served.post(b" " * (MAX_REQUEST_BYTES + 1))
        assert (response.status_code, response.headers["content-type"]) == (413, "application/json")
    assert served.post(row(served)).status_code == 200


def test_the_work_for_names_is_linear_in_their_number(served: ReleaseServer) -> None:
    names = [f"column {number}" for number in range(100_000)]
    response = served.post({"data": {"names": names + names, "ndarray": []}})
    assert response.status_code == 400
    info = response.json()["status"]["info"]
    assert "unknown: column 0, column 1, " in info
    assert "and 99980 more" in info
    assert len(info) < 3000


def row(served: ReleaseServer, **changes: object) -> dict[str, Any]:
    cells = dict(zip(served.golden.names, served.golden.rows[0], strict=True)) | changes
    return {"data": {"names": list(cells), "ndarray": [list(cells.values())]}}


@pytest.fixture
def fresh(trained: Trained, layer: Path, tmp_path: Path) -> Iterator[ReleaseServer]:
    """A server that no other test sends requests to."""
    with start_server(trained.project, layer, f"sha256:{layer.name}", log=tmp_path / "log.txt") as server:
        yield server


def read_faults(server: ReleaseServer, after: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.reader_url}/faults", params={"after": after}, trust_env=False).json()
    return found


def test_rejected_requests_are_kept_with_the_body_that_was_sent(fresh: ReleaseServer) -> None:
    sent = json.dumps(row(fresh, weight="heavy"))
    assert fresh.post(sent).status_code == 400
    assert fresh.post("{").status_code == 400
    form = {"json": '{"data": 1}'}
    assert httpx.post(f"{fresh.url}/api/v1.0/predictions", data=form, trust_env=False).status_code == 400
    assert fresh.post(" " * (MAX_BODY_BYTES + 1)).status_code == 400
    assert fresh.post(row(fresh)).status_code == 200
    rejected = read_faults(fresh)["rejected"]
    assert rejected["total"] == 4
    assert [base64.b64decode(one["body"]) for one in rejected["requests"]] == [sent.encode(), b"{", b"json=%7B%22data%22%3A+1%7D"]
    assert rejected["requests"][0]["text"].startswith("column 'weight' must contain a number, but row … has '…'")
    assert [one["number"] for one in read_faults(fresh, after=2)["rejected"]["requests"]] == [3]
    for page in ({"Origin": "https://example.com"}, {"Host": "rebound.example.com"}):
        assert httpx.get(f"{fresh.reader_url}/faults", headers=page, trust_env=False).status_code == 403
    assert httpx.get(f"{fresh.url}/faults", trust_env=False).status_code == 401


@pytest.mark.slow
def test_only_the_last_rejected_requests_are_kept(fresh: ReleaseServer) -> None:
    for _ in range(MAX_KEPT_REQUESTS + 5):
        fresh.post("{")
    rejected = read_faults(fresh)["rejected"]
    assert (rejected["total"], len(rejected["requests"])) == (MAX_KEPT_REQUESTS + 5, MAX_KEPT_REQUESTS)


def test_failures_of_the_release_are_counted_by_kind_without_values_of_the_request(fresh: ReleaseServer) -> None:
    for _ in range(3):
        assert fresh.post(row(fresh, items=None, zone="Atlantis")).status_code == 500
    assert fresh.post(row(fresh, weight=3e6, zone="Atlantis")).status_code == 500
    faults = read_faults(fresh)
    assert [(one["kind"].split(" in ")[0], one["count"]) for one in faults["failed"]] == [
        ("ValueError", 3),
        ("invalid output", 1),
    ]
    model, output = faults["failed"]
    assert model["text"].startswith("the model failed on these rows: ValueError: Input X contains NaN.")
    assert output["text"].startswith("the model returned values that are not probabilities")
    assert model["example"][:2] == [["weight", "number"], ["zone", "text"]]
    text = json.dumps(faults) + fresh.log.read_text()
    assert "Atlantis" not in text
    assert "3000000" not in text
    assert fresh.log.read_text().count("ValueError") >= 1, "the first failure of each kind is logged"
    assert fresh.log.read_text().count("the model failed on these rows") == 1


@pytest.mark.slow
def test_a_project_may_allow_values_in_explanations(
    trained: Trained, layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_ROLLOUT__SHOW_VALUES", "true")
    project = read_project(trained.project.root)
    with start_server(project, layer, f"sha256:{layer.name}", log=tmp_path / "log.txt") as server:
        server.post(row(server, items=None, zone="Atlantis"))
        (failed,) = read_faults(server)["failed"]
    assert ["zone", "Atlantis"] in failed["example"]
