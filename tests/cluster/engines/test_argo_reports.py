"""The report of a run on Argo, with a real API server and a real S3: where its records are, and who may read them.

The status of the Workflow is as Argo's controller writes it. $SLUICE_TEST_BUCKET is the bucket for the artifacts, as a URL with
the access keys: http://ACCESS:SECRET@HOST:PORT/BUCKET
"""

from __future__ import annotations

import base64
import json
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from engine_accounts import make_token, with_token
from typer.testing import CliRunner
from workflow_states import node, root, status

from sluice.argo.expressions.wire_json import to_wire
from sluice.cli import app
from sluice.engines.argo.artifacts import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sluice.engines.argo.engine import ArgoEngine
    from sluice.project.projects import Project

    Write = Callable[[str, dict[str, Any]], None]

URL = os.environ.get("SLUICE_TEST_BUCKET", "")
DECISION = {
    "promote": True,
    "first": False,
    "difference": 0.0213,
    "uses": 3,
    "budget": 20,
    "verdict": {
        "check": "gate",
        "outcome": "pass",
        "threshold": 0.002,
        "interval": {"low": 0.0101, "high": 0.0325, "level": 0.95, "method": "paired DeLong"},
    },
}


@dataclass
class Bucket:
    """A bucket, and the keys of the artifacts that a test put there."""

    host: str
    name: str
    access: str
    secret: str
    folder: str

    @property
    def repository(self) -> dict[str, Any]:
        """The artifact repository as Argo's controller writes it into the status of a Workflow."""
        keys = {f"{kind}KeySecret": {"name": "store-keys", "key": kind} for kind in ("access", "secret")}
        return {"artifactRepository": {"s3": {"endpoint": self.host, "bucket": self.name, "insecure": True, **keys}}}

    def system(self) -> Any:
        from pyarrow import fs

        return fs.S3FileSystem(endpoint_override=self.host, scheme="http", access_key=self.access, secret_key=self.secret)

    def clear(self) -> None:
        """Delete the artifacts."""
        from pyarrow import fs

        system = self.system()
        for info in system.get_file_info(fs.FileSelector(f"{self.name}/{self.folder}", recursive=True, allow_not_found=True)):
            if info.type is fs.FileType.File:
                system.delete_file(info.path)

    def put(self, step: str, text: str, metadata: dict[str, Any]) -> dict[str, Any]:
        """Store a record, and return the outputs of its step."""
        key = f"{self.folder}/{step}/record"
        with self.system().open_output_stream(f"{self.name}/{key}") as file:
            file.write(text.encode())
        value = to_wire({"name": "record", "uri": f"/kfp/store/{key}", "metadata": metadata})
        return {"parameters": [{"name": "record", "value": value}], "artifacts": [{"name": "record", "s3": {"key": key}}]}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    if not URL:
        pytest.skip("$SLUICE_TEST_BUCKET names no bucket")
    url = urlsplit(URL)
    host = f"{url.hostname}:{url.port}"
    found = Bucket(host, url.path.strip("/"), url.username or "", url.password or "", f"sluice-reports-{uuid.uuid4().hex[:8]}")
    yield found
    found.clear()


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment have no access keys of its own."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def keys(engine: ArgoEngine, bucket: Bucket) -> Iterator[None]:
    """Create the Secret that the artifact repository names."""
    data = {
        kind: base64.b64encode(text.encode()).decode() for kind, text in (("access", bucket.access), ("secret", bucket.secret))
    }
    engine.api.create(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store-keys"}, "data": data})
    yield
    engine.api.delete(SECRET, "store-keys")


def lines(*documents: dict[str, Any]) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


@pytest.fixture
def run(engine: ArgoEngine, bucket: Bucket, write_status: Write) -> str:
    """Return a run whose model tests passed and whose gate promoted the challenger."""
    found = engine.submit("train", {})
    verdict = {"check": "auc_overall", "outcome": "pass", "observed": 0.84, "threshold": 0.8, "rows": 900}
    layer = {"part": "layer-model", "document": {"layer": "model", "outcome": "pass", "verdicts": [verdict]}}
    tested = bucket.put("model-tests", lines(layer), {"detail": "1 check"})
    decided = bucket.put("gate", lines({"part": "gate", "document": DECISION}), {"detail": "better", "gate": DECISION})
    decided["parameters"].append({"name": "Output", "value": "true"})
    nodes = [root(found), node(found, "model-tests", outputs=tested), node(found, "gate", outputs=decided)]
    write_status(found, status("Succeeded", *nodes) | {"artifactRepositoryRef": bucket.repository})
    return found


@pytest.mark.usefixtures("keys")
def test_the_commands_show_a_run_with_its_verdicts_and_numbers(run: str, shop: Project) -> None:
    file = shop.root / "out.html"
    done = CliRunner().invoke(app, ["report", run, "-o", str(file), "--project", str(shop.root)])
    assert done.exit_code == 0, done.output
    page = file.read_text()
    assert "auc_overall" in page
    assert "0.0213" in page
    assert "is missing" not in page
    listed = CliRunner().invoke(app, ["runs", "--engine", "argo", "--project", str(shop.root), "--output", "json"])
    (summary,) = json.loads(listed.output)["data"]["runs"]
    assert (summary["outcome"], summary["gate"], summary["numbers"]["low"]) == ("passed", "promote", 0.0101)
    watched = CliRunner().invoke(app, ["runs", "watch", run, "--report", str(shop.root / "out.md"), "--project", str(shop.root)])
    assert watched.exit_code == 0, watched.output
    assert "AUC above the champion's" in (shop.root / "out.md").read_text()
    shown = CliRunner().invoke(app, ["runs", "show", run, "--project", str(shop.root)])
    assert "promote +0.0213 [+0.0101, +0.0325]" in shown.output
    assert f"sluice report {run}" in shown.output


def test_without_the_secret_the_keys_are_those_of_the_environment(
    run: str, engine: ArgoEngine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    (note,) = engine.result(run).notes
    assert "what the step recorded is missing, because s3://" in note
    assert f"Secret store-keys of namespace {engine.api.namespace} does not exist" in note
    assert "$AWS_ACCESS_KEY_ID" in note
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret)
    assert [layer.layer for layer in engine.result(run).layers] == ["model"]


@pytest.mark.usefixtures("keys")
def test_an_account_that_may_not_read_secrets_is_told_so(run: str, engine: ArgoEngine, tmp_path: Path) -> None:
    rules = [
        {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]
    reader = with_token(engine, make_token(engine.api.namespace, tmp_path / "token", rules))
    (note,) = reader.result(run).notes
    assert "the access keys in Secret store-keys cannot be read" in note
    assert "is forbidden" in note or "cannot get" in note


@pytest.mark.usefixtures("keys")
def test_an_artifact_that_was_deleted_is_named_and_the_others_are_shown(run: str, engine: ArgoEngine, bucket: Bucket) -> None:
    bucket.system().delete_file(f"{bucket.name}/{bucket.folder}/gate/record")
    found = engine.result(run)
    (note,) = found.notes
    assert note.startswith(
        f"gate: what the step recorded is missing, because s3://{bucket.name}/{bucket.folder}/gate/record does not"
    )
    assert found.gate is None
    assert [layer.layer for layer in found.layers] == ["model"]


@pytest.mark.usefixtures("keys")
def test_a_store_that_does_not_answer_is_asked_once(run: str, engine: ArgoEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    (note,) = engine.result(run).notes
    assert "cannot be read from 127.0.0.1:9: " in note
    assert note.count("s3://") == 1
