"""A release that nobody signed never gets a server or traffic from `sluice serve`, whatever its manifest says."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import joblib
import pytest
from guards import GUARD_SECONDS
from laptop_rollouts import make_champion, start_canary
from release_fixtures import layer, trained
from release_project import Signer
from rollout_backends import Backends, wait_for

from sluice.data.snapshots import digest_file
from sluice.errors import ConfigurationError
from sluice.project.projects import Project
from sluice.project.tables.trust import TrustTable
from sluice.release.model_layer import MANIFEST_FILE, MODEL_FILE
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.platforms.laptop.supervisor import run_supervisor
from sluice.rollout.requests import approvals, commands, histories, outcomes, starts, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_project import Trained

__all__ = ["layer", "trained"]

FORGED = {"promote": True, "reason": "forged"}
UNSIGNED = "the release is refused: its manifest contains no signed decision of the gate"


class Evil:
    """An object that leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


@dataclass
class RecordingBackends(Backends):
    """A launcher that remembers which releases it prepared."""

    prepared: list[str] = field(default_factory=list)

    def prepare(self, release: str) -> Path:
        self.prepared.append(release)
        return super().prepare(release)


@pytest.fixture
def backends(tmp_path: Path) -> RecordingBackends:
    return RecordingBackends(tmp_path / "backends")


@pytest.fixture
def signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signer:
    return Signer(tmp_path, "parcels", monkeypatch)


@pytest.fixture
def project(project: Project, trained: Trained, signer: Signer) -> Project:
    """A project with fast rollouts, the keys, and the trained project's own code and serving environment."""
    quick = {"project": trained.project.settings.project, "trust": signer.settings}
    root = shutil.copytree(trained.project.root, project.root, ignore=shutil.ignore_patterns(".sluice", "__pycache__"))
    return Project(root, project.settings.model_copy(update=quick))


class Releases:
    """Makes releases in the project's store, honest ones and others."""

    def __init__(self, project: Project, layer: Path, signer: Signer, folder: Path) -> None:
        self.store, self.layer, self.signer, self.folder = ReleaseStore(project.state / "releases"), layer, signer, folder
        self.made = 0

    def add(self, gate: object = None, *, model: bytes = b"", signed: bool = True) -> str:
        """Add a release. If `gate` is not given, the gate promoted this model and signed that."""
        self.made += 1
        folder = self.folder / f"layer-{self.made}"
        shutil.copytree(self.layer, folder, ignore=shutil.ignore_patterns("__pycache__"))
        if model:
            (folder / MODEL_FILE).write_bytes(model)
        manifest = json.loads((folder / MANIFEST_FILE).read_text())
        digest = digest_file(folder / MODEL_FILE)
        manifest["model"] |= {"digest": digest, "parameters": {"note": self.made}}
        manifest["gate"] = self.signer.sign_gate(digest) if gate is None else gate
        (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
        with self.signer.packaging() if signed else contextlib.nullcontext():
            return self.store.add(folder).digest

    def read_gate(self, digest: str) -> dict[str, object]:
        found: dict[str, object] = self.store.get(digest).manifest["gate"]
        return found


@pytest.fixture
def releases(project: Project, layer: Path, signer: Signer, tmp_path: Path) -> Releases:
    return Releases(project, layer, signer, tmp_path)


def test_a_forged_release_is_rejected_and_never_gets_a_server(
    project: Project, backends: RecordingBackends, releases: Releases, serving: str
) -> None:
    honest, better, forged = releases.add(), releases.add(), releases.add(FORGED)
    make_champion(project, honest)
    start_canary(project, forged)
    assert outcomes.wait_for_outcome(project, forged, timeout=GUARD_SECONDS) == "rejected"
    assert histories.read_rollout(project, forged)["reason"] == UNSIGNED
    assert forged not in backends.prepared
    assert statuses.read_status(project).weights == {honest: 100, forged: 0}
    make_champion(project, better)  # an honest release is not held up
    assert httpx.post(f"{serving}/api/v1.0/predictions", json={}, trust_env=False).is_success


def test_a_forged_first_release_is_never_served(
    project: Project, backends: RecordingBackends, releases: Releases, serving: str
) -> None:
    forged = releases.add(FORGED)
    start_canary(project, forged)
    assert outcomes.wait_for_outcome(project, forged, timeout=GUARD_SECONDS) == "rejected"
    assert (backends.prepared, statuses.read_status(project).champion) == ([], None)
    assert httpx.post(f"{serving}/api/v1.0/predictions", json={}, trust_env=False).status_code == 503


def test_a_signed_decision_cannot_be_carried_to_another_model_or_another_code(
    project: Project, backends: RecordingBackends, releases: Releases, serving: str, tmp_path: Path
) -> None:
    honest = releases.add()
    make_champion(project, honest)
    joblib.dump(Evil(tmp_path / "mark"), tmp_path / "evil.joblib")
    stolen = releases.add(releases.read_gate(honest), model=(tmp_path / "evil.joblib").read_bytes())
    unsigned = releases.add(releases.read_gate(honest), signed=False)
    for digest, reason in ((stolen, "the gate's decision is about"), (unsigned, "the provenance is not signed")):
        start_canary(project, digest)
        assert outcomes.wait_for_outcome(project, digest, timeout=GUARD_SECONDS) == "rejected"
        assert reason in histories.read_rollout(project, digest)["reason"]
        assert digest not in backends.prepared


@pytest.mark.slow
def test_a_rollback_to_n_minus_1_needs_no_signature(
    project: Project, releases: Releases, signer: Signer, backends: Backends
) -> None:
    """The releases were promoted before keys were configured."""
    first, second = releases.add(FORGED, signed=False), releases.add(FORGED, signed=False)
    trustful = Project(project.root, project.settings.model_copy(update={"trust": TrustTable()}))
    with running(trustful, backends):
        make_champion(trustful, first)
        make_champion(trustful, second)
    with running(project, backends):
        assert statuses.read_status(project).champion == second
        assert commands.rollback(project, by="kim")["to"] == first
        wait_for(lambda: statuses.read_status(project).seen_weights == {first: 100})


def test_a_key_that_is_missing_ends_the_supervisor_before_it_serves(project: Project, signer: Signer, backends: Backends) -> None:
    assert signer.keys
    (signer.folder / "gate.pub").unlink()
    with pytest.raises(ConfigurationError, match=r"gate\.pub"):
        run_supervisor(project, launcher=backends)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [True, False])
def test_the_model_of_a_forged_release_is_never_unpickled(
    project: Project, trained: Trained, releases: Releases, tmp_path: Path, keys: bool
) -> None:
    """Without keys, the real server of the release unpickles it, so that this test would notice if it did with keys."""
    mark = tmp_path / "mark"
    joblib.dump(Evil(mark), tmp_path / "evil.joblib")
    evil = releases.add(FORGED, model=(tmp_path / "evil.joblib").read_bytes())
    update = {"serving": trained.project.settings.serving.model_copy(update={"port": 0})}
    project = Project(project.root, project.settings.model_copy(update=update if keys else update | {"trust": TrustTable()}))
    with running(project, None):
        starts.request_rollout(project, evil, by="bob")
        approvals.approve(project, evil, by="eve")
        assert outcomes.wait_for_outcome(project, evil, timeout=GUARD_SECONDS) == "rejected"
    assert mark.exists() is not keys
    assert (histories.read_rollout(project, evil)["reason"] == UNSIGNED) is keys


@contextlib.contextmanager
def running(project: Project, backends: Backends | None) -> Iterator[str]:
    """Run a supervisor in a thread of this process; without a launcher, with real servers."""
    stop = threading.Event()
    thread = threading.Thread(target=run_supervisor, args=(project,), kwargs={"launcher": backends, "stop": stop})
    thread.start()
    try:
        yield outcomes.wait_until_serving(project, GUARD_SECONDS)
    finally:
        stop.set()
        thread.join()
