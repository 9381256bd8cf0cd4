"""A release loaded for serving: verified, compared with where it was made, and asked.

The order matters. joblib runs code that is in the file, so the bytes are held against a digest from outside first, then the
environment against the one at training, then the release's own code is put on the path; only then is the model loaded, and it
must answer the golden rows as it did at training.

Needs the standard library, numpy, pandas, joblib and threadpoolctl: it runs in the serving environment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import joblib
from threadpoolctl import threadpool_limits

from sluice.errors import IntegrityError, RefusedError, ServiceError
from sluice.release.columns import Cell, rows_to_frame
from sluice.release.fingerprint import compare_fingerprints, read_fingerprint, same_cpu
from sluice.release.golden import (
    PREDICTION_ERRORS,
    Golden,
    describe_bad_outputs,
    describe_difference,
    predict_probabilities,
    read_golden,
)
from sluice.release.layer import LOAD_ERRORS, MANIFEST_FILE, MODEL_FILE, verify_folder
from sluice.scoring.batching import Batches, answers_apart
from sluice.scoring.sources import import_from_layer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from sluice.scoring.batching import Predict

FOLDER_VARIABLE = "SLUICE_RELEASE_FOLDER"
"""Environment variable with the folder of the unpacked layer that a server serves."""

DIGEST_VARIABLE = "SLUICE_RELEASE_DIGEST"
"""Environment variable with the digest that the layer must have: set by who deploys, never in the image."""


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """A loaded release.

    Attributes:
        predict: The fitted pipeline's probabilities of a frame's rows.
        golden: Its golden rows, with the columns that it wants.
        digest: The release.
        exact: Whether the golden rows were compared to the last bit.
        joins: Whether requests that wait at the same time are asked in one call.
    """

    predict: Predict
    golden: Golden
    digest: str
    exact: bool
    joins: bool

    def score(self, names: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[float]:
        """Probabilities of the positive class, one per row.

        Raises:
            DataError: The rows are not what the model takes: the caller's fault.
            ServiceError: The model fails on them, or answers with something that is no probability: the release's fault.
        """
        frame = rows_to_frame(names, rows, self.golden.columns)
        try:
            found = self.predict(frame)
        except PREDICTION_ERRORS as error:
            raise ServiceError(f"the model failed on these rows: {type(error).__name__}: {error}") from error
        if fault := describe_bad_outputs(found):
            raise ServiceError(f"the model gave no probability: {fault}")
        return [float(probability) for probability in found]


def load_scorer(folder: Path, digest: str) -> Scorer:
    """Verify, compare, load and try a release.

    Args:
        folder: The unpacked model layer, absolute.
        digest: Its digest, from outside the folder.

    Raises:
        IntegrityError: The bytes are others; nothing was loaded.
        RefusedError: The environment, the code or the golden rows differ from training.
    """
    verify_folder(folder, digest)
    fingerprint = _read_manifest(folder)["environment"]["fingerprint"]
    here = read_fingerprint()
    if differences := compare_fingerprints(fingerprint, here):
        raise RefusedError(
            f"this is another environment than the model was fitted in: {'; '.join(differences)}",
            hint="Make both environments from the same locks, or train again.",
        )
    exact = same_cpu(fingerprint, here)
    golden = read_golden(folder)
    predict = partial(predict_probabilities, _load_model(folder))
    with threadpool_limits(1):  # as at training: the number of threads moves last bits
        found = _require_golden(predict, golden, exact=exact)
        joins = answers_apart(predict, golden.frame(), found)
    return Scorer(Batches(predict).predict if joins else predict, golden, digest, exact, joins)


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        manifest["environment"]["fingerprint"]["libraries"].keys()
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{folder / MANIFEST_FILE} is no manifest of a release: {error}", hint="Package the model again."
        ) from error
    return dict(manifest)


def _load_model(folder: Path) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    try:
        import_from_layer(folder)
        return joblib.load(folder / MODEL_FILE)
    except (*LOAD_ERRORS, OSError) as error:
        raise RefusedError(
            f"the model cannot be loaded with the release's own code: {type(error).__name__}: {error}",
            hint="Name every package that the fitted pipeline needs in project.packages of sluice.toml, and package it again.",
        ) from error


def _require_golden(predict: Predict, golden: Golden, *, exact: bool) -> NDArray[np.float64]:
    """The model's answers to its golden rows, which are those at training."""
    try:
        found = predict(golden.frame())
    except PREDICTION_ERRORS as error:
        raise RefusedError(
            f"the model fails on its golden rows: {type(error).__name__}: {error}",
            hint="Compare the serving environment with the one at training.",
        ) from error
    if fault := describe_difference(golden.expected, found, exact=exact):
        raise RefusedError(fault, hint="Do not serve it: find what differs from training before you train again.")
    return found
