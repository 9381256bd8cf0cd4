"""Load a release for serving: verify it, compare the environments, load the model, and test it with the golden rows.

The order matters, because joblib runs code that is in the model file. First the bytes are checked against a digest from outside.
Then the environment is compared with the training environment, and the release's own code is put first on the path. Only then is
the model loaded, and it must answer the golden rows as it did at training.

The model, its code, the manifest and the golden rows are taken from the very bytes that were verified.

This module needs numpy, pandas, joblib and threadpoolctl, because it runs in the serving environment.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from sluice.errors import IntegrityError, RefusedError, ServiceError
from sluice.release.feature_columns import Cell, rows_to_frame
from sluice.release.fingerprint import (
    ABSENT,
    SERVER,
    compare_fingerprints,
    describe_patch_level,
    find_unnamed,
    read_fingerprint,
    read_version,
    same_cpu,
)
from sluice.release.golden_rows import (
    GOLDEN_FILE,
    PREDICTION_ERRORS,
    GoldenRows,
    describe_bad_outputs,
    describe_difference,
    parse_golden_rows,
    predict_probabilities,
)
from sluice.release.model_layer import CODE_FOLDER, LOAD_ERRORS, MANIFEST_FILE, MODEL_FILE, read_verified_files
from sluice.release.models.model_files import unpickle_model
from sluice.scoring.batching import RequestBatcher, rows_are_independent
from sluice.scoring.verified_imports import put_layer_first_on_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from sluice.scoring.batching import Predict


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """A loaded release.

    Attributes:
        predict: Returns the fitted pipeline's probabilities for a frame's rows.
        golden: The golden rows, with the columns that the model expects.
        digest: The digest of the release.
        exact: Whether the golden rows were compared to the last bit.
        batches: Whether requests that wait at the same time are answered with one call of the model.
        patch_level: How the patch level of Python differs from that of the training; empty if it does not.
    """

    predict: Predict
    golden: GoldenRows
    digest: str
    exact: bool
    batches: bool
    patch_level: str = ""

    def score(self, names: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[float]:
        """Return the probabilities of the positive class, one per row.

        Raises:
            DataError: The rows do not match the model's columns. The client caused the error.
            ServiceError: The model fails on the rows, or returns values that are not probabilities. The release caused the error.
        """
        frame = rows_to_frame(names, rows, self.golden.columns)
        try:
            found = self.predict(frame)
        except Exception as error:  # even an error that would be a client's fault elsewhere: the model raised it
            raise ServiceError(f"the model failed on these rows: {type(error).__name__}: {error}") from error
        if fault := describe_bad_outputs(found):
            raise ServiceError(f"the model returned values that are not probabilities: {fault}")
        return [float(probability) for probability in found]


def load_scorer(folder: Path, digest: str) -> Scorer:
    """Verify, compare, load and test a release.

    Args:
        folder: The absolute path of the unpacked model layer.
        digest: The expected digest, which comes from outside the folder.

    Raises:
        IntegrityError: The bytes do not have the digest, or the manifest or the golden rows cannot be read. No model was loaded.
        RefusedError: The environment, the code or the answers to the golden rows differ from training.
    """
    stored = read_verified_files(folder, digest, MANIFEST_FILE, GOLDEN_FILE, MODEL_FILE, f"{CODE_FOLDER}/")
    manifest = _parse_manifest(stored.get(MANIFEST_FILE, b""))
    fingerprint = manifest["environment"]["fingerprint"]
    here = read_fingerprint(fingerprint["libraries"])
    if differences := compare_fingerprints(fingerprint, here):
        raise RefusedError(
            f"this environment differs from the one that the model was fitted in: {'; '.join(differences)}",
            hint="Make both environments from the same lock files, or train the model again. `make earlier-serving` makes the "
            "environment of an earlier release.",
        )
    exact = same_cpu(fingerprint, here)
    golden = parse_golden_rows(stored.get(GOLDEN_FILE, b""))
    loaded = set(sys.modules)
    model = _load_model(folder, stored, str(manifest["model"]["digest"]))
    predict = partial(predict_probabilities, model)
    with threadpool_limits(1):  # as at training, because the number of threads changes the last bits
        found = _check_golden_rows(predict, golden, exact=exact)
        batches = rows_are_independent(predict, golden.frame(), found)
    _check_libraries(fingerprint, loaded)
    answer = RequestBatcher(predict).predict if batches else predict
    return Scorer(answer, golden, digest, exact, batches, describe_patch_level(fingerprint, here))


def _parse_manifest(stored: bytes) -> Mapping[str, Any]:
    try:
        manifest = json.loads(stored)
        manifest["environment"]["fingerprint"]["libraries"].keys()
        manifest["model"]["digest"]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{MANIFEST_FILE} is not the manifest of a release: {error}", hint="Package the model again."
        ) from error
    return dict(manifest)


def _load_model(folder: Path, stored: Mapping[str, bytes], digest: str) -> Any:  # noqa: ANN401 - scikit-learn is untyped
    try:
        put_layer_first_on_path(folder, stored)
        return unpickle_model(stored.get(MODEL_FILE, b""), digest)
    except (*LOAD_ERRORS, OSError) as error:
        raise RefusedError(
            f"the model cannot be loaded with the release's own code: {type(error).__name__}: {error}",
            hint="List every package that the fitted pipeline needs in project.packages of sluice.toml. Then package it again.",
        ) from error


def _check_libraries(fingerprint: Mapping[str, Any], before: set[str]) -> None:
    """Check that the model has loaded no library whose version was not compared.

    A process of the training environment scores a release too, and what it loads besides the model differs from a server. So only
    a server checks this.

    Args:
        fingerprint: The fingerprint in the manifest. One of an earlier version of Sluice names too few libraries for this check.
        before: The modules that were loaded before the model.
    """
    if "files" not in fingerprint or read_version(SERVER) == ABSENT:
        return
    tops = {name.partition(".")[0] for name in before}
    new = {name for name in sys.modules.keys() - before if name.partition(".")[0] not in tops}
    if unnamed := find_unnamed(new, fingerprint["libraries"]):
        found = ", ".join(f"{name} {version}" for name, version in unnamed.items())
        raise RefusedError(
            f"the model loads {found}, but its release does not say which version it was fitted with",
            hint="Import it in the module that model.build names, or in one that this module imports. Then package again.",
        )


def _check_golden_rows(predict: Predict, golden: GoldenRows, *, exact: bool) -> NDArray[np.float64]:
    """Return the model's answers to the golden rows, after the check that they agree with those at training."""
    try:
        found = predict(golden.frame())
    except PREDICTION_ERRORS as error:
        raise RefusedError(
            f"the model fails on its golden rows: {type(error).__name__}: {error}",
            hint="Compare the serving environment with the training environment.",
        ) from error
    if fault := describe_difference(golden.expected, found, exact=exact):
        raise RefusedError(fault, hint="Do not serve this release. Find out what differs from training before you train again.")
    return found
