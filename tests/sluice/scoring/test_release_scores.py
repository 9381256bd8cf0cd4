"""A release is scored by a server in its own environment, or in a process that is compared with that environment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pandas as pd
import pytest

from sluice.errors import DataError, RefusedError, ServiceError
from sluice.release.model_layer import layer_digest
from sluice.scoring.release_scores import ROWS_IN_A_REQUEST, score_in_process, score_in_server

if TYPE_CHECKING:
    from pathlib import Path

    from release_project import Trained


def change_version(layer: Path) -> str:
    """Let a layer say that it was made with another library, and return its digest."""
    file = layer / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["environment"]["fingerprint"]["libraries"]["scikit-learn"] = "0.1"
    file.write_text(json.dumps(manifest))
    return layer_digest(layer)


@pytest.mark.slow
def test_the_server_gives_the_scores_that_the_model_had_at_training(trained: Trained, layer: Path) -> None:
    rows = pd.concat([trained.features, trained.features.head(7)], ignore_index=True)
    assert len(rows) > ROWS_IN_A_REQUEST
    expected = joblib.load(trained.model).predict_proba(rows)[:, 1]
    shuffled = rows[rows.columns[::-1]].assign(unused=1)
    found, first = score_in_server(trained.project, layer, f"sha256:{layer.name}", shuffled, rows.head(3))
    assert np.abs(found - expected).max() <= 1e-12
    assert np.array_equal(first, found[:3])
    in_process = score_in_process(layer, f"sha256:{layer.name}", rows, rows.head(3))
    assert [scores.tolist() for scores in in_process] == [found.tolist(), first.tolist()]


@pytest.mark.slow
def test_a_release_of_another_environment_is_not_scored(trained: Trained, layer_copy: Path) -> None:
    digest = change_version(layer_copy)
    with pytest.raises(ServiceError, match=r"scikit-learn is .*, but the model was fitted with 0\.1"):
        score_in_server(trained.project, layer_copy, digest, trained.features)
    with pytest.raises(RefusedError, match=r"scikit-learn is .*, but the model was fitted with 0\.1"):
        score_in_process(layer_copy, digest, trained.features)


def test_a_column_that_the_loader_no_longer_returns_is_named(trained: Trained, layer: Path) -> None:
    with pytest.raises(DataError, match="the rows lack 1 of the 5 columns that the release was trained with: zone"):
        score_in_process(layer, f"sha256:{layer.name}", trained.features.drop(columns="zone"))


def test_changed_bytes_are_not_loaded(trained: Trained, layer_copy: Path) -> None:
    with pytest.raises(RefusedError, match="digest"):
        score_in_process(layer_copy, "sha256:" + "0" * 64, trained.features)
