"""The ledger in a ConfigMap: no question is lost, and another writer is noticed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from api_server import ApiServer
from gate_inputs import BYTES, ROWS, RULE, ask
from kubernetes import client

from sluice.errors import ServiceError, StateError
from sluice.gate.ledger import Ledger
from sluice.gate.stores import config_maps
from sluice.gate.stores.config_maps import KEY, ConfigMapStore, connect_config_map
from sluice.gate.stores.folders import FolderStore
from sluice.gate.stores.head_files import HeadFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[ApiServer]:
    api = ApiServer()
    yield api
    api.server.shutdown()


def connect(server: ApiServer, **options: object) -> ConfigMapStore:
    settings = client.Configuration(host=server.url)
    settings.retries = False
    return ConfigMapStore(client.CoreV1Api(client.ApiClient(settings)), "ledger", "pipelines", **options)


def test_questions_and_answers_are_kept_in_one_config_map(server: ApiServer) -> None:
    ledger = Ledger(connect(server))
    asked = ask(ledger, "one")
    ledger.save_answer(asked.link, {"promote": False})
    again = ask(Ledger(connect(server)), "one")
    assert (again.uses, again.answer) == (1, {"promote": False})
    assert list(server.objects) == ["ledger"]
    assert list(server.objects["ledger"]["data"]) == [KEY]


def test_a_config_map_without_data_is_an_empty_ledger_and_keeps_its_labels(server: ApiServer) -> None:
    labels = {"app.kubernetes.io/part-of": "sluice"}
    server.store(201, "ledger", {"metadata": {"name": "ledger", "labels": labels}})
    assert ask(Ledger(connect(server)), "one").uses == 1
    assert server.objects["ledger"]["metadata"]["labels"] == labels


def test_concurrent_gates_lose_no_question(server: ApiServer) -> None:
    def run(name: str) -> None:
        ledger = Ledger(connect(server))
        for number in range(5):
            ask(ledger, f"{name}-{number}")

    threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    uses = [record.uses for record in Ledger(connect(server)).read().questions()]
    assert uses == list(range(1, 21))


def test_a_write_on_an_old_version_changes_nothing(server: ApiServer) -> None:
    ask(Ledger(connect(server)), "one")
    store = connect(server)
    before = store.read()
    ask(Ledger(connect(server)), "two")
    kept = server.objects["ledger"]
    assert store.replace(before, b"{}", "") is False
    assert server.objects["ledger"] == kept
    del server.objects["ledger"]
    assert store.replace(before, b"{}", "") is False


def test_a_deleted_config_map_is_noticed_by_the_head_that_the_champion_names(server: ApiServer) -> None:
    head = ask(Ledger(connect(server)), "one").link
    del server.objects["ledger"]
    with pytest.raises(StateError, match=r"ConfigMap pipelines/ledger was deleted, shortened or replaced"):
        ask(Ledger(connect(server)), "two", heads=[head])
    assert server.objects == {}


def test_an_older_config_map_is_noticed_by_the_head_in_the_state_folder(server: ApiServer, tmp_path: Path) -> None:
    head_file = HeadFile(tmp_path / "head")
    head = ask(Ledger(connect(server), head_file=head_file), "one").link
    older = server.objects["ledger"]["data"]
    ask(Ledger(connect(server), head_file=head_file), "two", heads=[head])
    server.objects["ledger"]["data"] = older
    with pytest.raises(StateError, match=r"ConfigMap pipelines/ledger cannot be trusted: it was deleted, .* older copy"):
        ask(Ledger(connect(server), head_file=head_file), "three", heads=[head])


def test_the_ledger_of_the_state_folder_is_taken_over(server: ApiServer, tmp_path: Path) -> None:
    head = ask(Ledger(tmp_path), "one").link
    ledger = Ledger(connect(server, earlier=FolderStore(tmp_path)))
    assert ask(ledger, "two", heads=[head]).uses == 2
    (tmp_path / "ledger.json").unlink()
    assert len(ledger.read().questions()) == 2
    assert ledger.measure(ROWS, holdout=BYTES, rule=RULE).used == 2


def test_a_refused_call_and_a_server_that_is_away_are_errors_with_a_hint(server: ApiServer) -> None:
    ledger = Ledger(connect(server))
    server.forbidden = True
    with pytest.raises(ServiceError, match="the API server refused the gate's ledger") as refused:
        ask(ledger, "one")
    assert "manifests/components/gate" in refused.value.hint
    server.server.shutdown()
    server.server.server_close()
    with pytest.raises(ServiceError, match="does not answer"):
        ask(Ledger(connect(server)), "one")


def test_a_ledger_that_is_too_large_is_refused_and_changes_nothing(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(Ledger(connect(server)), "one")
    kept = server.objects["ledger"]
    monkeypatch.setattr(config_maps, "MAX_BYTES", len(kept["data"][KEY]) + 10)
    with pytest.raises(StateError, match="but a ConfigMap holds only"):
        ask(Ledger(connect(server)), "two")
    assert server.objects["ledger"] == kept


def test_the_name_may_contain_the_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: ApiServer) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        f"""
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{server.url}"}}}}]
users: [{{name: u, user: {{}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u, namespace: own}}}}]
current-context: x
"""
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    assert [connect_config_map(name).place for name in ("ledger", "other/ledger")] == [
        "ConfigMap own/ledger",
        "ConfigMap other/ledger",
    ]
    assert ask(Ledger(connect_config_map("ledger")), "one").uses == 1
    kubeconfig.unlink()
    with pytest.raises(ServiceError, match="no cluster can be reached"):
        connect_config_map("ledger")
