"""Rollouts with real parts: a release store, Seldon microservices, Envoy, and a supervisor in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from guards import GUARD_SECONDS
from laptop_rollouts import ask_admin
from rollout_backends import is_running, wait_for
from rollout_traffic import Traffic

from sluice.errors import StateError
from sluice.project.projects import Project, read_project
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.platforms.laptop.microservices import MicroserviceLauncher
from sluice.rollout.requests import approvals, commands, histories, outcomes, starts, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[5]

SETTINGS = f"""\
[project]
name = "orders"
packages = ["orders"]
[data]
snapshot = "orders.parquet"
holdout = "holdout.parquet"
load = "orders.model:load"
label = "late"
id = "key"
[model]
build = "orders.model:build"
[serving]
python = "{REPOSITORY / ".venv-serving/bin/python"}"
lock = "lock.txt"
port = 0
[rollout]
steps = [20, 100]
margin = 0.05
first_look = 60
bake_seconds = 1.0
deadline_seconds = 90.0
"""

MODEL = """\
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


class Prepare(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.mean_ = float(X["weight"].mean())
        return self

    def transform(self, X):
        weight = X["weight"].astype(float).fillna(self.mean_)
        {preparation}
        return weight.to_numpy().reshape(-1, 1)


def load(path):
    return pd.read_parquet(path){columns}


def build():
    return make_pipeline(Prepare(), LogisticRegression())
"""

# The third passes every offline test, because only production sends weights above 400. So does the last, which was fitted on a
# column that no client sends.
RELEASES = (
    ("pass", ""),
    ("weight = np.log1p(weight.clip(lower=0))", ""),
    ("if (weight > 400).any(): raise KeyError(f'no bin for {weight.max()}')", ""),
    ("weight = 1.0 * weight", ""),
    ("pass", ".assign(size=1.0)"),
)

BUILD = """\
import joblib, numpy as np, pandas as pd, sys
from pathlib import Path
from sluice.data.snapshots import digest_file
from sluice.project.projects import read_project
from sluice.release.golden_answers import load_and_answer
from sluice.release.packaging import build_release
from sluice.release.store.releases import ReleaseStore

project = read_project(Path(sys.argv[1]))
for name, seed in (("orders", 1), ("holdout", 2)):
    draw = np.random.default_rng(seed)
    weight = draw.gamma(2.0, 2.0, 400)
    rows = {"key": np.arange(400) + seed * 1000, "weight": weight, "late": (weight + draw.normal(size=400) > 4).astype(int)}
    pd.DataFrame(rows).to_parquet(project.root / f"{name}.parquet")
rows = project.load_object("orders.model:load", key="data.load")(project.root / "orders.parquet")
model = project.load_object("orders.model:build", key="model.build")().fit(rows.drop(columns=["key", "late"]), rows["late"])
joblib.dump(model, project.root / "model.joblib")
file = project.root / "model.joblib"
folder = build_release(
    project, model=file, model_digest=digest_file(file), golden=load_and_answer(project, file, digest_file(file)),
    snapshot_digest=digest_file(project.root / "orders.parquet"),
    verdicts={"code": [], "data": [], "model": []}, gate={"promote": True, "first": True}, parent=None,
)
print(ReleaseStore(project.state / "releases").add(folder).digest)
"""


@pytest.fixture(scope="module")
def served_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("orders")
    (root / "sluice.toml").write_text(SETTINGS)
    (root / "lock.txt").write_text(f"numpy=={np.__version__}\n")
    (root / "orders").mkdir()
    (root / "orders" / "__init__.py").touch()
    shutil.copytree(REPOSITORY / "serving", root / "serving", ignore=shutil.ignore_patterns("__pycache__"))
    return read_project(root)


@pytest.fixture(scope="module")
def releases(served_project: Project) -> list[str]:
    """Build releases that differ in their preprocessing or their columns. Each contains its own code."""
    digests = []
    for preparation, columns in RELEASES:
        (served_project.root / "orders" / "model.py").write_text(
            MODEL.replace("{preparation}", preparation).replace("{columns}", columns)
        )
        command = [sys.executable, "-B", "-c", BUILD, str(served_project.root)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
        digests.append(built.stdout.split()[-1])
    return digests


@pytest.fixture
def supervisor(served_project: Project) -> Iterator[subprocess.Popen[bytes]]:
    with supervise(served_project) as process:
        yield process


@contextmanager
def supervise(project: Project, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    script = textwrap.dedent("""
        import sys; from pathlib import Path
        from sluice.project.projects import read_project; from sluice.rollout.platforms.laptop.supervisor import run_supervisor
        run_supervisor(read_project(Path(sys.argv[1])), notify=lambda line: print(line, flush=True))
    """)
    command, environment = [sys.executable, "-c", script, str(project.root)], {**os.environ, **variables}
    with (project.root / "serve.txt").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def payload(*weights: float | None) -> dict[str, object]:
    return {"data": {"names": ["weight"], "ndarray": [[weight] for weight in weights]}}


def predict(url: str) -> tuple[str, list[float]]:
    answer = httpx.post(f"{url}/api/v1.0/predictions", json=payload(0.5, 4.25, None), trust_env=False).raise_for_status().json()
    return answer["meta"]["tags"]["release"], [row[0] for row in answer["data"]["ndarray"]]


def roll_out(project: Project, digest: str) -> str:
    starts.request_rollout(project, digest, by="bob", again="another test has rolled it back")
    approvals.approve(project, digest, by="eve")
    return outcomes.wait_for_outcome(project, digest, timeout=project.settings.rollout.deadline_seconds)


def group_members(leader: int) -> list[int]:
    """Return the running processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def test_real_servers_go_from_the_first_release_to_a_rollback(
    served_project: Project, releases: list[str], supervisor: subprocess.Popen[bytes]
) -> None:
    first, second, broken, *_ = releases
    project, store = served_project, ReleaseStore(served_project.state / "releases")
    url = outcomes.wait_until_serving(project, GUARD_SECONDS)
    assert roll_out(project, first) == "promoted"
    release, before = predict(url)
    assert release == first

    production = [payload(weight) for weight in (1.0, 2.5, 4.0, None, 6.5, 0.1, 3.3, 500.0)]
    with Traffic(url, production) as traffic:
        assert roll_out(project, second) == "promoted"
        wait_for(lambda: store.get("champion").digest == second)
        assert store.get("previous").digest == first
        assert predict(url)[0] == second
        assert predict(url)[1] != before
        assert not traffic.failed()

        assert roll_out(project, broken) == "rolled_back"
        numbers = histories.read_rollout(project, broken)["numbers"]
        assert numbers["decision_to_zero_seconds"] >= 0
        assert set(traffic.failed()) == {broken}, "the only failed requests are the canary's own"
        outcomes.wait_for_explanation(project, broken)
        (error,) = (histories.read_rollout(project, broken)["failure"] or {})["errors"]
        assert error["kind"].startswith("KeyError in orders/model.py:")
        assert error["text"] == "the model failed on these rows: KeyError: '…'"
        assert error["example"] == "weight: number"
        assert store.get("champion").digest == second

        done = commands.rollback(project, by="kim")
        assert done["seconds"] >= 0
        wait_for(lambda: traffic.of(first, since=done["applied_at"]) > 20)
        assert set(traffic.failed()) == {broken}
    assert not traffic.of(second, since=done["applied_at"] + 0.3)
    assert predict(url) == (first, before), "model and preprocessing are exactly those of N-1"
    wait_for(lambda: store.get("champion").digest == first)
    with pytest.raises(StateError):
        store.get("previous")

    servers = [server["pid"] for server in statuses.read_status(project).servers if server["pid"]]
    members = [pid for leader in servers for pid in group_members(leader)]
    envoy = ask_admin(statuses.read_status(project).admin_socket, "/server_info").json()
    assert envoy["state"] == "LIVE"
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.wait()
    assert len(members) >= 2, "gunicorn and its worker"
    wait_for(lambda: not any(is_running(pid) for pid in members))
    time.sleep(0.2)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/api/v1.0/health/status", trust_env=False)


def test_the_shadow_rejects_a_canary_that_fails_on_live_requests_before_a_user_meets_it(
    served_project: Project, releases: list[str]
) -> None:
    first, _, broken, same, _ = releases
    project = served_project
    shadow = {"SLUICE_ROLLOUT__SHADOW_REQUESTS": "60", "SLUICE_ROLLOUT__SHADOW_DIFFERENCE": "0.05"}
    with supervise(project, **shadow):
        url = outcomes.wait_until_serving(project, GUARD_SECONDS)
        if statuses.read_status(project).champion is None:
            assert roll_out(project, first) == "promoted"
        champion = predict(url)[0]
        production = [payload(weight) for weight in (1.0, 2.5, 4.0, None, 6.5, 0.1, 3.3, 500.0)]
        with Traffic(url, production) as traffic:
            assert roll_out(project, broken) == "rejected"
            reason = statuses.read_status(project).reason
            assert "shadow: the canary's answers differ" in reason
            assert "the canary failed 0 of" not in reason
            assert roll_out(project, same) == "promoted"
            assert not traffic.failed()
            assert not traffic.of(broken, since=0.0)
        moves = histories.read_transitions(project)
        left = next(one for one in moves if (one["release"], one["from"]) == (same, "shadow"))
        assert left["evidence"]["shadow_difference"] == 0.0
        assert commands.rollback(project, by="kim")["to"] == champion


def test_a_canary_that_needs_a_column_which_no_client_sends_is_rolled_back(
    served_project: Project, releases: list[str], supervisor: subprocess.Popen[bytes]
) -> None:
    project, needs_size = served_project, releases[-1]
    url = outcomes.wait_until_serving(project, GUARD_SECONDS)
    if statuses.read_status(project).champion is None:
        assert roll_out(project, releases[0]) == "promoted"
    with Traffic(url, [payload(weight) for weight in (1.0, 2.5, 4.0)]) as traffic:
        assert roll_out(project, needs_size) == "rolled_back"
        assert set(traffic.failed()) == {needs_size}
    outcomes.wait_for_explanation(project, needs_size)
    (error,) = (histories.read_rollout(project, needs_size)["failure"] or {})["errors"]
    assert error["kind"] == "rejected, although stable accepts it"
    assert error["text"].startswith("the columns do not match the model's columns: missing: size.")
    assert error["example"] == "weight: number"


def test_a_real_server_that_is_stopped_is_replaced(
    served_project: Project, releases: list[str], supervisor: subprocess.Popen[bytes]
) -> None:
    project = served_project
    url = outcomes.wait_until_serving(project, GUARD_SECONDS)
    if statuses.read_status(project).champion is None:
        assert roll_out(project, releases[0]) == "promoted"
    champion = statuses.read_status(project).champion
    hung = next(one["pid"] for one in statuses.read_status(project).servers if one["release"] == champion)
    members = group_members(hung)
    assert len(members) >= 2, "gunicorn and its worker"
    os.killpg(hung, signal.SIGSTOP)

    def is_replaced() -> bool:
        servers = {one["release"]: one for one in statuses.read_status(project).servers}
        return bool(servers[champion or ""]["ready"]) and servers[champion or ""]["pid"] != hung

    wait_for(is_replaced, seconds=120)
    wait_for(lambda: not any(is_running(pid) for pid in members), seconds=60)
    assert predict(url)[0] == champion
    assert "stable's server did not answer for" in histories.read_transitions(project)[-1]["reason"]


def test_a_release_that_is_not_in_the_store_is_refused_at_once(
    served_project: Project, releases: list[str], supervisor: subprocess.Popen[bytes]
) -> None:
    outcomes.wait_until_serving(served_project, GUARD_SECONDS)
    with pytest.raises(StateError, match="there is no release"):
        roll_out(served_project, "sha256:" + "f" * 64)


def test_no_tag_moves_before_the_first_champion(served_project: Project) -> None:
    MicroserviceLauncher(served_project).move_tags(None, None)
