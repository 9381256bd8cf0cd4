"""The temporary project of these tests, with its own transformer, its keys, and functions that inspect its servers' processes."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import time
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from guards import GUARD_SECONDS

from sluice.data.snapshots import digest_file
from sluice.project.tables.trust import TrustTable
from sluice.release import gate_statements, provenance
from sluice.release.envelopes import read_public_keys
from sluice.release.golden_answers import load_and_answer
from sluice.release.packaging import build_release
from sluice.release.trust_rules import ReleaseDocuments, TrustKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from sluice.project.projects import Project

REPOSITORY = Path(__file__).parents[2]

SETTINGS = f"""\
[project]
name = "parcels"
packages = ["parcels"]

[data]
snapshot = "parcels.parquet"
holdout = "holdout.parquet"
load = "parcels.model:load"
label = "late"
id = "key"

[model]
build = "parcels.model:build"
parameters = {{ strength = 1.0 }}

[serving]
python = "{REPOSITORY / ".venv-serving/bin/python"}"
lock = "lock.txt"
"""

MODEL = '''\
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from parcels.features import Encode


class Careless(LogisticRegression):
    """Returns values that are not probabilities for weights that no holdout has."""

    def predict_proba(self, X):
        found = super().predict_proba(X)
        found[X[:, 0] > 1e6, 1] = float("nan")
        found[X[:, 0] > 2e6, 1] = 1.5
        return found


def load(path):
    return pd.read_parquet(path)


def build(strength=1.0):
    return make_pipeline(Encode(), Careless(C=strength))
'''

FEATURES = """\
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin


class Encode(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.median_ = X["weight"].median()
        self.shares_ = X["zone"].value_counts(normalize=True).to_dict()
        return self

    def transform(self, X):
        day = (X["shipped_at"] - pd.Timestamp("2024-01-01")).dt.days.fillna(0)
        return np.column_stack([
            X["weight"].fillna(self.median_),
            X["zone"].map(self.shares_).fillna(0.0).astype(float),
            X["express"].astype(bool),
            X["items"],
            np.sin(day / 365.25),
        ]).astype(float)
"""


def make_rows(rows: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    weight = generator.gamma(2.0, 2.0, rows).round(3)
    express = generator.random(rows) < 0.3
    late = generator.random(rows) < 1 / (1 + np.exp(-(weight - 4) + 2 * express))
    return pd.DataFrame(
        {
            "key": np.arange(rows) + seed * 1_000_000,
            "weight": np.where(generator.random(rows) < 0.05, np.nan, weight),
            "zone": np.where(generator.random(rows) < 0.05, None, generator.choice(["north", "south", "sea"], rows)),
            "express": express,
            "items": generator.integers(1, 9, rows),
            "shipped_at": np.datetime64("2024-01-01", "us") + generator.integers(0, 10**13, rows).astype("timedelta64[us]"),
            "late": late.astype(int),
        }
    )


@dataclasses.dataclass(frozen=True)
class Trained:
    """A project with a fitted model, and a function that packages it."""

    project: Project
    model: Path
    rows: pd.DataFrame

    @property
    def features(self) -> pd.DataFrame:
        return self.rows.drop(columns=["key", "late"])

    def package(self, **changes: object) -> Path:
        model = Path(str(changes.get("model", self.model)))
        digest = digest_file(model)
        values: dict[str, object] = {
            "model": model,
            "model_digest": digest,
            "golden": load_and_answer(self.project, model, digest),
            "snapshot_digest": digest_file(self.project.path("parcels.parquet")),
            "verdicts": {"code": [], "data": [], "model": [{"check": "auc", "outcome": "pass", "observed": 0.8}]},
            "gate": {"promote": True, "first": True, "unproven": True},
            "parent": None,
        }
        return build_release(self.project, **(values | changes))  # type: ignore[arg-type]


def processes_of(group: int) -> set[int]:
    """Return the running processes of a process group."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != "Z":
                found.add(int(entry.name))
    return found


def wait_until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + GUARD_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def make_key(folder: Path, name: str = "key", algorithm: str = "ed25519") -> tuple[Path, Path]:
    """Make a key pair with OpenSSL, as the hint of the error describes."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", algorithm, "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


@dataclasses.dataclass(frozen=True)
class Signer:
    """Signs gate's answers and images with keys of its own, as the steps `gate` and `package` do."""

    folder: Path
    project: str
    monkeypatch: pytest.MonkeyPatch

    @property
    def keys(self) -> TrustKeys:
        gate, image = (read_public_keys([self._key(name)[1]]) for name in ("gate", "image"))
        return TrustKeys(gate=gate, provenance=image)

    @property
    def settings(self) -> TrustTable:
        return TrustTable(gate_keys=[str(self._key("gate")[1])], provenance_keys=[str(self._key("image")[1])])

    def sign_gate(self, model: str, **answer: object) -> dict[str, Any]:
        """Return the gate's signed answer about a model."""
        with self.monkeypatch.context() as patch:
            patch.setenv(gate_statements.KEY_VARIABLE, str(self._key("gate")[0]))
            answer = {"promote": True, "model": model, "scores": "", "override": None} | answer
            return gate_statements.sign_answer(answer, project=self.project, champion=None, holdout=model, at=1.0)

    @contextlib.contextmanager
    def packaging(self) -> Iterator[None]:
        """Have the key of the provenance, as the step `package` does."""
        with self.monkeypatch.context() as patch:
            patch.setenv(provenance.KEY_VARIABLE, str(self._key("image")[0]))
            yield

    def plan_manifest(self, model: str, gate: object) -> dict[str, Any]:
        """Return the manifest of a release with this model and this gate's answer."""
        return {
            "project": self.project,
            "code": {"commit": "", "dirty": False},
            "model": {"digest": model, "build": "a:b", "parameters": {}},
            "data": {"snapshot_digest": model, "holdout_digest": model},
            "environment": {"lock_digest": model, "fingerprint": {}},
            "gate": gate,
            "verdicts": {},
            "parent": None,
        }

    def documents(self, release: str, image: str, *, model: str = f"sha256:{'f' * 64}", gate: object = None) -> ReleaseDocuments:
        """Return what a release with this model says about itself: signed by both keys, unless it has another gate's answer."""
        manifest = self.plan_manifest(model, self.sign_gate(model) if gate is None else gate)
        with self.packaging():
            attached = provenance.sign_provenance(manifest, digest=release, image_digest=image)
        return ReleaseDocuments(release=release, image=image, model=model, manifest=manifest, provenance=[attached])

    def _key(self, name: str) -> tuple[Path, Path]:
        made = self.folder / f"{name}.pem", self.folder / f"{name}.pub"
        return made if made[0].exists() else make_key(self.folder, name)


class InlineThreads(Executor):
    """Runs everything at once in the caller's thread, for tests in which time is simulated."""

    def submit(self, call: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*given, **named))
        except Exception as error:  # noqa: BLE001 - a future holds any error
            future.set_exception(error)
        return future
