"""Layer 1: the model pipeline, fitted on a small export."""

from __future__ import annotations

import ast
import io
import pickle
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

import churn.features
import churn.model
from churn.customers import simulate_customers
from churn.data import FEATURES, LABEL
from churn.model import FEATURE_GROUPS, build_model

SERVING_LIBRARIES = {"numpy", "pandas", "sklearn", "churn"}
"""The libraries in the serving environment that the model's code may import."""

LOADED_LIBRARIES = {"numpy", "sklearn", "churn", "joblib", "builtins", "copyreg", "_codecs", "collections"}
"""The libraries that a fitted model may refer to. pandas is not one of them, because its types depend on what else is installed.
"""


@pytest.fixture(scope="module")
def export() -> pd.DataFrame:
    return simulate_customers(3_000, seed=5)


@pytest.fixture(scope="module")
def rows(export: pd.DataFrame) -> pd.DataFrame:
    return export[list(FEATURES)]


@pytest.fixture(scope="module")
def model(export: pd.DataFrame, rows: pd.DataFrame) -> Pipeline:
    return build_model().fit(rows, export[LABEL])


def probability(model: Pipeline, rows: pd.DataFrame) -> np.ndarray:
    return np.asarray(model.predict_proba(rows)[:, 1])


def test_the_built_model_is_one_unfitted_pipeline() -> None:
    """Preprocessing and model are one object, and it has learned nothing before fit."""
    built = build_model()
    assert isinstance(built, Pipeline)
    assert not hasattr(built[-1], "coef_")
    assert not hasattr(built[0], "encoders_")


def test_features_are_finite_and_named(model: Pipeline, rows: pd.DataFrame) -> None:
    """The input of the classifier has no missing values and a name for each column."""
    reached = model[:-1].transform(rows)
    assert np.isfinite(reached).all()
    assert reached.shape == (len(rows), len(model[0].get_feature_names_out()))


def test_two_fits_give_the_same_model(export: pd.DataFrame, rows: pd.DataFrame, model: Pipeline) -> None:
    """Equal rows give exactly the same coefficients."""
    again = build_model().fit(rows, export[LABEL])
    assert np.array_equal(again[-1].coef_, model[-1].coef_)
    assert np.array_equal(probability(again, rows), probability(model, rows))


def test_the_solver_converges(model: Pipeline) -> None:
    """The solver found the optimum before it reached its limit of iterations."""
    assert (model[-1].n_iter_ < model[-1].max_iter).all()


def test_the_probability_of_a_row_does_not_depend_on_its_batch(model: Pipeline, rows: pd.DataFrame) -> None:
    """The probability of a row depends only on that row, in any order and any batch."""
    whole = probability(model, rows.head(50))
    single = [probability(model, rows.iloc[[row]])[0] for row in range(50)]
    turned = probability(model, rows.head(50).iloc[::-1])[::-1]
    assert whole == pytest.approx(single, abs=1e-12)
    assert whole == pytest.approx(turned, abs=1e-12)


def test_columns_are_found_by_name(model: Pipeline, rows: pd.DataFrame) -> None:
    """The order of the columns does not matter, and other columns are ignored."""
    shuffled = rows[list(FEATURES)[::-1]].assign(note="x")
    assert np.array_equal(probability(model, shuffled), probability(model, rows))


def test_rows_as_json_give_the_same_probabilities(model: Pipeline, rows: pd.DataFrame) -> None:
    """Python values with None, as in a request, give the same probabilities as the types of the export."""
    plain = rows.astype(object).where(rows.notna(), None).to_numpy().tolist()
    sent = pd.DataFrame(plain, columns=list(FEATURES), dtype=object)
    assert np.array_equal(probability(model, sent), probability(model, rows))


def test_unseen_and_missing_values_get_a_probability(model: Pipeline, rows: pd.DataFrame) -> None:
    """New categories, and rows without any values, get a finite probability."""
    unseen = rows.head(20).assign(contract_type="weekly", acquisition_channel="billboard")
    unknown = pd.DataFrame([[None] * len(FEATURES)], columns=list(FEATURES), dtype=object)
    for asked in (unseen, unknown):
        answers = probability(model, asked)
        assert np.isfinite(answers).all()
        assert ((answers >= 0) & (answers <= 1)).all()


@pytest.mark.parametrize("group", list(FEATURE_GROUPS))
def test_each_group_of_features_makes_a_model(export: pd.DataFrame, rows: pd.DataFrame, group: str) -> None:
    """A model of one group uses only the columns of that group."""
    fitted = build_model(features=(group,)).fit(rows, export[LABEL])
    needed = [encoder.column for encoder in fitted[0].encoders_]
    assert np.array_equal(probability(fitted, rows[needed]), probability(fitted, rows))


@pytest.mark.parametrize("features", [(), ("account", "account"), ("horoscope",)], ids=["none", "twice", "unknown"])
def test_each_group_of_features_must_exist_and_be_named_once(features: tuple[str, ...]) -> None:
    """An unknown group, a repeated group and no group are errors."""
    with pytest.raises(ValueError, match="features must be one or more of account"):
        build_model(features=features)


@pytest.mark.parametrize("module", [churn.features, churn.model], ids=["features", "model"])
def test_the_models_code_imports_only_what_serving_has(module: object) -> None:
    """Features and model import only what the serving environment has."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    imported = {name.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module).partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - set(sys.stdlib_module_names) <= SERVING_LIBRARIES


class RecordingUnpickler(pickle.Unpickler):
    """Records the libraries that a pickle refers to."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.libraries: set[str] = set()

    def find_class(self, module: str, name: str) -> object:
        self.libraries.add(module.partition(".")[0])
        return super().find_class(module, name)


def test_a_fitted_model_refers_only_to_what_serving_has(model: Pipeline) -> None:
    """The pickle refers to numpy, scikit-learn and this package, and to no pandas object of this environment."""
    unpickler = RecordingUnpickler(io.BytesIO(pickle.dumps(model)))
    unpickler.load()
    assert unpickler.libraries <= LOADED_LIBRARIES


def test_a_stored_model_gives_exactly_the_same_probabilities(model: Pipeline, rows: pd.DataFrame, tmp_path: Path) -> None:
    """A model that joblib wrote and read gives exactly the same probabilities."""
    joblib.dump(model, tmp_path / "model.joblib")
    assert np.array_equal(probability(joblib.load(tmp_path / "model.joblib"), rows), probability(model, rows))
