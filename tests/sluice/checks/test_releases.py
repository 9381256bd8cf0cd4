"""The fixtures for a packaged release: the served release, and the champion."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pytest

from sluice.checks.layers import LayerInputs, LayerResult
from sluice.data.holdout import read_labelled_rows
from sluice.data.snapshots import digest_file
from sluice.errors import ConfigurationError, StateError
from sluice.project.projects import Project, read_project
from sluice.release.golden_answers import load_and_answer
from sluice.release.packaging import build_release
from sluice.release.store.releases import ReleaseStore
from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]

SUITE = """
import os
import numpy as np
from sluice.checks.judgements import predict_probability

def test_serves_what_was_trained(service, model, champion, holdout):
    asked = holdout.features.head(20)
    expected = predict_probability(model, asked)
    assert np.array_equal(service.predict(asked), expected)
    assert np.array_equal(predict_probability(champion, asked), expected)
    print("served by", service.pid)
"""


@pytest.fixture
def packaged(shop: Project) -> Iterator[tuple[ReleaseStore, str]]:
    """A store with one release of the temporary project."""
    path = list(sys.path)
    settings = f'\n[serving]\npython = "{REPOSITORY / ".venv-serving/bin/python"}"\nlock = "lock.txt"\n'
    (shop.root / "sluice.toml").write_text((shop.root / "sluice.toml").read_text() + settings)
    (shop.root / "lock.txt").write_text(f"numpy=={np.__version__}\n")
    shutil.copytree(REPOSITORY / "serving", shop.root / "serving", ignore=shutil.ignore_patterns("__pycache__"))
    project = read_project(shop.root)
    rows = read_labelled_rows(project, project.root / "data" / "customers.csv")
    model = project.root / "model.joblib"
    joblib.dump(project.load_object("shop.data:build", key="model.build")().fit(rows.features, rows.labels), model)
    layer = build_release(
        project,
        model=model,
        model_digest=digest_file(model),
        golden=load_and_answer(project, model, digest_file(model)),
        snapshot_digest=digest_file(project.root / "data" / "customers.csv"),
        verdicts={},
        gate=None,
        parent=None,
    )
    store = ReleaseStore(project.state / "releases")
    yield store, store.add(layer).digest
    sys.path[:] = path
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


def test_the_integration_layer_serves_a_release(packaged: tuple[ReleaseStore, str], run: Callable[..., LayerResult]) -> None:
    store, digest = packaged
    store.tag("champion", digest)
    for inputs in (LayerInputs(release=digest), LayerInputs(release="champion")):
        result = run(SUITE, layer="integration", inputs=inputs)
        assert result.outcome is Outcome.PASS, (result.folder / "log.txt").read_text()
        assert (result.folder / "service.log").is_file()


def test_a_release_that_does_not_exist_is_a_state_error(
    packaged: tuple[ReleaseStore, str], run: Callable[..., LayerResult]
) -> None:
    with pytest.raises(StateError, match="release-9"):
        run(SUITE, layer="integration", inputs=LayerInputs(release="release-9"))


def test_a_missing_serving_environment_is_one_error(
    packaged: tuple[ReleaseStore, str], run: Callable[..., LayerResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_SERVING__PYTHON", "nowhere/bin/python")
    with pytest.raises(ConfigurationError, match=r"serving\.python names 'nowhere/bin/python'"):
        run(SUITE, layer="integration", inputs=LayerInputs(release=packaged[1]))


def test_there_is_no_champion_before_a_release_is_live(
    packaged: tuple[ReleaseStore, str], run: Callable[..., LayerResult]
) -> None:
    result = run("def test_one(champion): assert champion is None", layer="model")
    assert result.outcome is Outcome.PASS, result.verdicts
