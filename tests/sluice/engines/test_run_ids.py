"""The id of a run becomes a part of URLs. So an engine takes only what can be an id, and asks its server about nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kubernetes import client
from typer.testing import CliRunner

from sluice.cli import app
from sluice.engines.argo.api_server import WORKFLOW, ApiServer
from sluice.engines.argo.engine import ArgoEngine
from sluice.engines.arguments import check_run_id, is_run_id
from sluice.engines.kfp.engine import KfpEngine
from sluice.engines.local.runs import start_record
from sluice.errors import UsageError
from sluice.kubernetes_calls import POD

if TYPE_CHECKING:
    from sluice.project.projects import Project

STRANGE = (
    "",
    ".",
    "..",
    "../pipelines",
    "../../version",
    "churn-x?x=1",
    "a/b",
    "a%2Fb",
    "churn x",
    "Churn",
    "a..b",
    "x#y",
    "a\n",
    "a" * 254,
)
COMMANDS = (
    ("runs", "show"),
    ("runs", "watch"),
    ("logs",),
    ("runs", "cancel"),
    ("runs", "retry"),
    ("runs", "resume"),
    ("report",),
)
UUID = "4f2b8a10-6c3d-4e5f-9a7b-0c1d2e3f4a5b"


@pytest.mark.parametrize("run", STRANGE)
def test_no_engine_takes_a_text_that_cannot_be_an_id(run: str) -> None:
    assert not any(is_run_id(engine, run) for engine in ("local", "argo", "kfp"))


def test_each_engine_takes_the_ids_that_it_gives(small_project: Project) -> None:
    assert is_run_id("local", start_record(small_project, "good", {})[0].name)
    assert is_run_id("argo", "churn-release-x7k2p")
    assert is_run_id("argo", "churn.release")
    assert is_run_id("kfp", UUID)
    assert not is_run_id("kfp", "churn-release-x7k2p")


def test_the_hint_says_what_an_id_looks_like() -> None:
    with pytest.raises(UsageError, match="'pipelines' is no id of a run") as caught:
        check_run_id("pipelines", "kfp")
    assert "on kfp it is a UUID" in caught.value.hint


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("engine", ["argo", "kfp", ""])
def test_every_command_refuses_a_text_that_cannot_be_an_id(small_project: Project, command: tuple[str, ...], engine: str) -> None:
    chosen = ["--engine", engine] if engine else []
    done = CliRunner().invoke(app, [*command, "../pipelines", *chosen, "--project", str(small_project.root)])
    assert type(done.exception) is UsageError
    assert done.exception.exit_code == 2
    assert done.exception.message == "'../pipelines' is no id of a run"


@pytest.mark.parametrize("run", ["", "../../version", "x?y=1"])
@pytest.mark.parametrize("name", ["argo", "kfp"])
def test_an_engine_refuses_it_before_it_asks_its_server(small_project: Project, name: str, run: str) -> None:
    nowhere = client.ApiClient(client.Configuration(host="http://127.0.0.1:9"))
    engines = {"argo": ArgoEngine(small_project, ApiServer(nowhere, "ns")), "kfp": KfpEngine(small_project, None)}
    engine = engines[name]
    for call in (engine.read, engine.result, engine.logs, engine.cancel, engine.retry, lambda r: next(engine.watch(r))):
        with pytest.raises(UsageError, match="is no id of a run"):
            call(run)
    with pytest.raises(UsageError, match="is no id of a run"):
        engine.resume(run, by="ada")


def test_a_name_is_one_part_of_a_path() -> None:
    assert POD.path("a/b", "c?d/../e") == "/api/v1/namespaces/a%2Fb/pods/c%3Fd%2F..%2Fe"
    assert WORKFLOW.path("argo", "churn-x.y") == "/apis/argoproj.io/v1alpha1/namespaces/argo/workflows/churn-x.y"
