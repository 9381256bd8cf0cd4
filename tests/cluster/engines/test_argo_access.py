"""The engine for Argo as other accounts and over a bad connection: refusals, tokens, cuts, and what `sluice doctor` finds."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import pytest
import yaml
from engine_accounts import make_token, with_token
from workflow_states import node, root, status

from sluice.doctor.clusters import ARGO_PERMISSIONS, check_argo, check_permissions, check_resources
from sluice.doctor.objects import check_security
from sluice.engines.argo.api_server import WORKFLOW, ApiServer
from sluice.engines.argo.engine import ArgoEngine, open_argo
from sluice.errors import ServiceError
from sluice.project.projects import Project

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def token_file(namespace: str, tmp_path: Path) -> Path:
    """Return a file with the token of an account that may do nothing."""
    return make_token(namespace, tmp_path / "token")


def test_a_refused_account_learns_which_line_of_a_role_it_needs(engine: ArgoEngine, token_file: Path) -> None:
    from kubernetes import config

    config.load_kube_config()
    refused = with_token(engine, token_file)
    with pytest.raises(ServiceError) as caught:
        refused.list()
    assert engine.api.url in caught.value.message
    assert f"system:serviceaccount:{engine.api.namespace}:nobody-" in caught.value.message
    assert '{apiGroups: ["argoproj.io"], resources: ["workflows"], verbs: ["list"]}' in caught.value.hint
    assert f"Role in namespace {engine.api.namespace}" in caught.value.hint
    with pytest.raises(ServiceError) as caught:
        refused.prepare("train")
    assert 'resources: ["workflowtemplates"], verbs: ["get"]' in caught.value.hint


def test_a_token_file_is_read_again_for_each_call(engine: ArgoEngine, token_file: Path) -> None:
    from kubernetes import config

    config.load_kube_config()
    account = with_token(engine, token_file)
    token = token_file.read_text()
    token_file.write_text("not a token")
    with pytest.raises(ServiceError, match="does not accept the credentials"):
        account.list()
    token_file.write_text(token)
    with pytest.raises(ServiceError, match="forbidden"):
        account.list()


def test_the_doctor_finds_each_missing_permission_and_says_the_line_of_the_role(engine: ArgoEngine, token_file: Path) -> None:
    from kubernetes import config

    config.load_kube_config()
    allowed = check_permissions(engine.api, ARGO_PERMISSIONS)
    assert {each.outcome for each in allowed} == {"pass"}
    refused = check_permissions(with_token(engine, token_file).api, ARGO_PERMISSIONS)
    assert {each.outcome for each in refused} == {"fail"}
    fixes = " ".join(each.fix for each in refused)
    assert '{apiGroups: [""], resources: ["pods/log"], verbs: ["get"]}' in fixes
    assert '{apiGroups: ["argoproj.io"], resources: ["workflowtemplates"], verbs: ["get", "patch", "create"]}' in fixes


def test_an_account_with_the_role_of_the_manifests_can_submit_and_the_doctor_says_what_it_may_not_read(
    shop: Project, engine: ArgoEngine, namespace: str, tmp_path: Path
) -> None:
    from kubernetes import client, config

    config.load_kube_config()
    role = yaml.safe_load((ROOT / "manifests" / "overlays" / "argo" / "pipelines" / "submitters.yaml").read_text())
    file = make_token(namespace, tmp_path / "submitter", role["rules"])
    submitter = with_token(engine, file)
    run = submitter.submit("train", {})
    assert run in {each.id for each in submitter.list()}
    submitter.cancel(run)
    own = {"server": engine.api.url, "token_file": str(file), "ca_file": str(client.Configuration.get_default_copy().ssl_ca_cert)}
    argo = shop.settings.argo.model_copy(update=own | {"service_account": "sluice-pipeline"})
    found = check_argo(Project(shop.root, shop.settings.model_copy(update={"argo": argo})))
    outcomes = {each.subject: each.outcome for each in found}
    assert "fail" not in outcomes.values(), found
    assert outcomes["argo.service_account"] == outcomes["argo.security"] == "note"
    assert all(f"namespace {namespace}" in each.detail for each in found if each.subject in {"Kubernetes API server", "clock"})


def test_the_doctor_compares_the_security_of_steps_with_the_namespace(engine: ArgoEngine, namespace: str) -> None:
    from kubernetes import client

    label = "pod-security.kubernetes.io/enforce"
    try:
        client.CoreV1Api().patch_namespace(namespace, {"metadata": {"labels": {label: "restricted"}}})
        assert check_security(engine.api, "").outcome == "fail"
        assert check_security(engine.api, "restricted").outcome == "pass"
    finally:
        client.CoreV1Api().patch_namespace(namespace, {"metadata": {"labels": {label: None}}})


def test_the_doctor_asks_for_versions_resources_accounts_and_the_clock(shop: Project, engine: ArgoEngine) -> None:
    accounts = {"gate": "nobody-made-it", "canary": "default"}
    argo = shop.settings.argo.model_copy(update={"service_account": "default", "service_accounts": accounts})
    found = {each.subject: each for each in check_argo(Project(shop.root, shop.settings.model_copy(update={"argo": argo})))}
    assert found["argoproj.io/v1alpha1"].outcome == "pass"
    assert found["clock"].outcome == "pass"
    assert found["argo.service_account"].outcome == "pass"
    assert found["argo.service_accounts.gate"].outcome == "fail"
    assert found["argo.service_accounts.canary"].outcome == "pass"
    assert engine.api.url in found["Kubernetes API server"].detail
    assert check_resources(engine.api, "nothing.example/v1", ("things",), "Install it.").fix == "Install it."


class CutProxy:
    """A TCP proxy in front of the API server. `cut` ends all connections, and it takes new ones."""

    def __init__(self, port: int) -> None:
        self.target, self.pairs = port, []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self.server.accept()
            except OSError:
                return
            other = socket.create_connection(("127.0.0.1", self.target))
            self.pairs += [one, other]
            for source, sink in ((one, other), (other, one)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def cut(self) -> None:
        for one in self.pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.pairs.clear()


def test_a_watch_goes_on_after_its_connection_was_cut(engine: ArgoEngine) -> None:
    run = engine.submit("train", {})
    host, _, port = engine.api.url.rpartition(":")
    if host != "https://127.0.0.1":
        pytest.skip("the API server is not on this machine, so its certificate does not fit the proxy")
    proxy, direct = CutProxy(int(port)), open_argo(engine.project)
    client = engine.api._client
    client.configuration.host = f"https://127.0.0.1:{proxy.port}"
    through = ArgoEngine(engine.project, ApiServer(client, engine.api.namespace))
    outcomes = []
    for number, found in enumerate(through.watch(run)):
        outcomes.append(found.summary.outcome)
        if number == 0:
            proxy.cut()
            direct.api.merge(WORKFLOW, run, {"status": status("Succeeded", root(run), node(run, "fit"))})
    proxy.server.close()
    assert outcomes[0] == "running"
    assert outcomes[-1] == "passed"
