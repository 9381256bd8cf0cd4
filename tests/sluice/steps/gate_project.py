"""A small project with a real release store, journal and ledger, in which the steps `gate` and `package` run."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pandas as pd
from champions import make_champion

from sluice.data.snapshots import digest_file
from sluice.project.projects import Project, read_project
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.requests.admission import read_ledger_head
from sluice.steps.curves import measure_curves
from sluice.steps.gating import ask_gate
from sluice.steps.packaging import package
from sluice.steps.scoring import score_gate_rows

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[project]
name = "toy"
packages = ["toy"]
[data]
snapshot = "train.parquet"
holdout = "{holdout}"
holdout_digest = "{digest}"
load = "toy.data:load"
label = "y"
id = "id"
gate_fraction = {fraction}
[model]
build = "toy.model:build"
[gate]
budget = {budget}
[serving]
lock = "lock.txt"
"""
LOADER = "import pandas as pd\n\n\ndef load(path):\n    return pd.read_parquet(path){tail}\n"
MODEL = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from toy.features import pick


def build(columns=("a", "b")):
    return make_pipeline(FunctionTransformer(pick, kw_args={"columns": list(columns)}), LogisticRegression())
"""
FEATURES = "def pick(frame, columns):\n    return frame[columns]{change}\n"


def draw(rows: int, *, seed: int, first: int, share: float = 0.2) -> pd.DataFrame:
    """Draw rows in which `a` says much about the label, `b` little, and both together most."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < share).astype(int)
    return pd.DataFrame(
        {
            "id": np.arange(first, first + rows),
            "a": rng.normal(size=rows) + 1.5 * labels,
            "b": rng.normal(size=rows) + 0.6 * labels,
            "y": labels,
        }
    )


@dataclass(frozen=True)
class Answer:
    """What the step `gate` returned and wrote."""

    passes: bool
    decision: dict[str, Any]
    model: Path
    scores: Path

    @property
    def uses(self) -> int:
        return int(self.decision["uses"])

    @property
    def promote(self) -> bool:
        return bool(self.decision["promote"])


class GateProject:
    """The project in a folder. Its methods change its files, as people do between two runs."""

    def __init__(self, root: Path, *, rows: int = 4_000, share: float = 0.2) -> None:
        self.root = root
        (root / "toy").mkdir()
        (root / "toy/__init__.py").touch()
        (root / "lock.txt").write_text(f"numpy=={np.__version__}\n")
        (root / "toy/model.py").write_text(MODEL)
        draw(3_000, seed=1, first=0).to_parquet(root / "train.parquet")
        draw(rows, seed=2, first=10**6, share=share).to_parquet(root / "holdout.parquet")
        self.write_loader("")
        self.write_features("")
        self.configure()

    def write_loader(self, tail: str) -> None:
        (self.root / "toy/data.py").write_text(LOADER.format(tail=tail))

    def write_features(self, change: str) -> None:
        (self.root / "toy/features.py").write_text(FEATURES.format(change=change))

    def configure(self, *, holdout: str = "holdout.parquet", fraction: float = 0.5, budget: int = 52) -> None:
        digest = f"sha256:{hashlib.sha256((self.root / holdout).read_bytes()).hexdigest()}"
        text = TOML.format(holdout=holdout, digest=digest, fraction=fraction, budget=budget)
        (self.root / "sluice.toml").write_text(text)

    def read(self) -> Project:
        """Read the project as a new process does: no module of it is loaded yet."""
        for name in [name for name in sys.modules if name.split(".")[0] == "toy"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        project = read_project(self.root)
        project.put_first_on_path()
        return project

    def train(self, name: str, columns: tuple[str, ...], *, rows: pd.DataFrame | None = None, model: object = None) -> Path:
        """Fit a model on some columns, and write its file."""
        build = self.read().load_object("toy.model:build", key="model.build")
        frame = pd.read_parquet(self.root / "train.parquet") if rows is None else rows
        fitted = (model or build(columns)).fit(frame[["a", "b"]], frame["y"])
        joblib.dump(fitted, self.root / name)
        return self.root / name

    def score(self, model: Path, **metadata: str) -> Path:
        """Run the step `score`, and return the file that it writes."""
        self.read()
        scores = model.with_suffix(".scores")
        score_gate_rows(str(model), {"digest": digest_file(model), **metadata}, str(scores), str(model.with_suffix(".golden")))
        return scores

    def ask(self, model: Path) -> Answer:
        """Run the steps `score` and `gate`."""
        return self.decide(model, self.score(model))

    def decide(self, model: Path, scores: Path) -> Answer:
        """Run the step `gate`."""
        self.read()
        decision = model.with_suffix(".decision")
        try:
            passes = ask_gate(str(model), {"digest": digest_file(model)}, str(scores), str(decision))
        finally:
            written = json.loads(decision.read_text()) if decision.exists() else {}
        return Answer(passes, written, model, scores)

    def release(self, answer: Answer, *, curves: Path | None = None) -> str:
        """Run the step `package`, and return the digest of the release. Without `curves`, the model is loaded to measure them."""
        self.read()
        metadata = {"digest": digest_file(answer.model), "snapshot_digest": digest_file(self.root / "train.parquet"), "rows": 1}
        if curves is None:
            curves = self.root / "curves.json"
            measure_curves(str(answer.model), metadata, str(curves))
        decision = answer.model.with_suffix(".decision")
        golden = answer.model.with_suffix(".golden")
        return package(str(answer.model), metadata, [], str(curves), str(decision), str(answer.scores), str(golden))

    def promote(self, answer: Answer) -> str:
        """Package a model, and make its release the champion, as the last step of a rollout writes it."""
        project, digest = self.read(), self.release(answer)
        make_champion(project, digest, ledger_head=read_ledger_head(project, digest))
        return digest

    @property
    def releases(self) -> ReleaseStore:
        return ReleaseStore(read_project(self.root).state / "releases")
