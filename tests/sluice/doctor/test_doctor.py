"""`sluice doctor`: each finding says what was found, and the fix."""

from __future__ import annotations

import json
import socket
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluice.cli import app
from sluice.doctor import machine
from sluice.doctor.examination import examine
from sluice.doctor.findings import Finding, ask
from sluice.doctor.services import check_registry
from sluice.errors import ConfigurationError
from sluice.project.projects import Project, read_project

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "release" / "registry"))
from registry_servers import PROGRAM, free_port, registry_server

TOML = """
[project]
name = "shop"
[data]
snapshot = "rows.csv"
holdout = "holdout.csv"
load = "m:f"
label = "y"
id = "id"
[model]
build = "m:f"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    (tmp_path / "sluice.toml").write_text(TOML)
    return read_project(tmp_path)


def with_serving(shop: Project, **values: object) -> Project:
    serving = shop.settings.serving.model_copy(update=values)
    return Project(shop.root, shop.settings.model_copy(update={"serving": serving}))


def test_a_library_with_another_version_than_the_locked_one_is_named(shop: Project) -> None:
    (shop.root / "locks").mkdir()
    lock = shop.root / "locks" / "tool.txt"
    lock.write_text(f"pytest=={version('pytest')} \\\n    --hash=sha256:0\nnot-on-this-platform==1.0\n")
    assert machine.check_lock(shop).outcome == "pass"
    lock.write_text("pytest==0.1\n")
    found = machine.check_lock(shop)
    assert found.outcome == "fail"
    assert f"pytest {version('pytest')} (locked: 0.1)" in found.detail
    assert found.fix == "Run `make setup`."


def test_a_serving_environment_that_does_not_work_is_named_with_its_error(shop: Project) -> None:
    found = ask("serving", lambda: machine.describe_serving(with_serving(shop, python="nowhere/python")))
    assert (found.outcome, found.subject) == ("fail", "serving")
    assert "No such file" in found.detail
    with pytest.raises(ConfigurationError, match="seldon-core"):
        machine.describe_serving(with_serving(shop, python=sys.executable))


def test_too_little_space_on_the_disk_is_told_with_the_number(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.check_disk(shop).outcome == "pass"
    monkeypatch.setattr(machine, "LEAST_FREE_BYTES", 10**18)
    found = machine.check_disk(shop)
    assert found.outcome == "fail"
    assert "GB are free at" in found.detail
    assert "SLUICE_STATE" in found.fix


def test_a_port_in_use_is_told_and_a_free_one_passes(shop: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = machine.check_port(with_serving(shop, port=port))
        assert found.outcome == "fail"
        assert f"port {port} cannot be used" in found.detail
    assert machine.check_port(with_serving(shop, port=free_port())).outcome == "pass"


@pytest.mark.skipif(not PROGRAM, reason="docker-registry is not installed")
def test_a_registry_that_takes_a_blob_passes_and_one_that_does_not_answer_is_named(shop: Project, tmp_path: Path) -> None:
    with registry_server(tmp_path / "registry") as host:
        project = with_serving(shop, repository=f"{host}/releases", image=f"{host}/serving:none", plain_http=True)
        image, releases = check_registry(project)
        assert (releases.outcome, releases.detail) == ("pass", f"{host}/releases accepts blobs")
        assert image.outcome == "fail"
        assert check_registry(project)[1].detail.endswith("(it has the test blob already)")
    _, gone = check_registry(project)
    assert gone.outcome == "fail"
    assert host in gone.detail
    assert gone.fix


def test_without_a_registry_there_is_a_note(shop: Project) -> None:
    (found,) = check_registry(shop)
    assert (found.outcome, found.subject) == ("note", "registry of releases")


def test_a_server_that_does_not_answer_ends_only_its_own_questions(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    findings = examine(shop, engine="kfp", platform="laptop")
    assert findings[-1].subject == "Kubeflow Pipelines"
    assert findings[-1].outcome == "fail"
    assert "does not answer" in findings[-1].detail
    assert {"Python", "disk space", "port of the proxy"} <= {each.subject for each in findings}
    assert all(each.fix for each in findings if each.outcome != "pass")


def test_the_command_prints_the_fix_and_exits_with_4_if_something_must_be_fixed(shop: Project) -> None:
    done = CliRunner().invoke(app, ["doctor", "--project", str(shop.root), "--output", "json"])
    document = json.loads(done.output)
    assert document["outcome"] == "failed"
    assert done.exit_code == 4
    failed = [Finding(**each) for each in document["data"]["findings"] if each["outcome"] == "fail"]
    assert "serving environment" in {each.subject for each in failed}
    text = CliRunner().invoke(app, ["doctor", "--project", str(shop.root)]).output
    assert "fix:" in text
