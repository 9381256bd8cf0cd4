"""Whether an account may request rollouts, asked of a server that answers as RBAC does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from api_server import ApiServer as Server
from release_project import make_key

from sluice.doctor import clusters
from sluice.doctor.clusters import check_requester, check_server
from sluice.doctor.examination import examine
from sluice.engines.argo.credentials import connect
from sluice.project.projects import Project
from sluice.project.settings import Settings
from sluice.project.tables.data import DataTable
from sluice.project.tables.model import ModelTable
from sluice.project.tables.pipelines.argo import ArgoTable
from sluice.project.tables.project import ProjectTable
from sluice.project.tables.seldon import SeldonTable
from sluice.project.tables.trust import TrustTable
from sluice.release import provenance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluice.engines.argo.api_server import ApiServer

REQUESTER = {"get modelrollouts", "create modelrollouts", "patch modelrollouts", "request modelrollouts"}
REQUESTER |= {"list rolloutapprovals", "get leases"}
APPROVER = {"get modelrollouts", "patch modelrollouts", "rollback modelrollouts"}
APPROVER |= {"list rolloutapprovals", "create rolloutapprovals", "get leases"}


class Reviews(Server):
    """Answers SelfSubjectAccessReviews. `allowed` has what the account may do."""

    allowed: set[str]

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/version":
            return 200, {"gitVersion": "v1.34.0"}
        if path != "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            return 404, {}
        assert method == "POST"
        asked = body["spec"]["resourceAttributes"]
        assert asked["namespace"] == "production"
        return 201, {"status": {"allowed": f"{asked['verb']} {asked['resource']}" in self.allowed}}


@pytest.fixture
def server() -> Iterator[Reviews]:
    server = Reviews()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def api(server: Reviews, tmp_path: Path) -> ApiServer:
    (tmp_path / "token").write_text("a-token")
    return connect(ArgoTable(server=server.url, token_file=str(tmp_path / "token"), namespace="production"))


def test_a_requester_passes(server: Reviews, api: ApiServer) -> None:
    server.allowed = REQUESTER
    assert check_requester(api).outcome == "pass"


@pytest.mark.parametrize("right", sorted(REQUESTER))
def test_each_missing_right_of_a_requester_is_named(server: Reviews, api: ApiServer, right: str) -> None:
    server.allowed = REQUESTER - {right}
    found = check_requester(api)
    assert found.outcome == "note"
    assert found.detail.endswith(f"because it may not {right}")


@pytest.mark.parametrize("allowed", [APPROVER, set()])
def test_an_account_with_another_role_gets_a_note_that_names_the_role(server: Reviews, api: ApiServer, allowed: set[str]) -> None:
    server.allowed = allowed
    found = check_requester(api)
    assert found.outcome == "note"
    assert "request modelrollouts" in found.detail
    assert "Role sluice-requester of namespace production" in found.fix


def test_the_advice_about_a_wrong_clock_speaks_of_nothing_that_the_api_server_times(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "LARGEST_SKEW_SECONDS", -1.0)
    (_, found) = check_server(api)
    assert found.outcome == "fail"
    assert "NTP" in found.fix
    assert "lease" not in found.fix.lower()


@pytest.mark.parametrize(("allowed", "outcome"), [(REQUESTER, "fail"), (APPROVER, "note")], ids=["requester", "approver"])
def test_a_missing_private_key_is_a_note_for_an_account_that_may_not_request(
    server: Reviews, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: set[str], outcome: str
) -> None:
    monkeypatch.delenv(provenance.KEY_VARIABLE, raising=False)
    (tmp_path / "token").write_text("a-token")
    make_key(tmp_path, "image")
    server.allowed = allowed
    settings = Settings(
        project=ProjectTable(name="shop"),
        data=DataTable(snapshot="s", holdout="h", load="m:f", label="y", id="i"),
        model=ModelTable(build="m:f"),
        trust=TrustTable(provenance_keys=["image.pub"]),
        argo=ArgoTable(server=server.url, token_file=str(tmp_path / "token")),
        seldon=SeldonTable(namespace="production"),
    )
    found = examine(Project(tmp_path, settings), engine="local", platform="seldon")
    (missing,) = [each for each in found if "`sluice run` does not train" in each.detail]
    assert (missing.outcome, missing.subject) == (outcome, "signatures")
    assert missing.fix.endswith("A machine that only serves, requests or approves needs no private key.")
