"""The faults: what each one changes, and which check must find it."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import broken_models
import joblib
import numpy as np
import pandas as pd
from pipeline_under_test import CHAMPION_FEATURES, SNAPSHOT_ROWS, World, run_pipeline

from churn.customers import AS_OF, simulate_customers
from churn.faults import find_fault
from sluice.data.holdout import open_holdout
from sluice.data.row_scores import digest_rows
from sluice.gate.ledger_documents import Question
from sluice.release.model_layer import layer_digest
from sluice.steps.ledgers import open_ledger, read_heads, read_rule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEED = 77
"""Seed of the data that a fault is planted in."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: What is wrong, in a few words.
        plant: Changes a healthy project.
        stage: The stage that must stop the pipeline. All stages before it must pass.
        check: The check of this stage that must fail, or the class of the error.
        message: A part of the message.
    """

    name: str
    plant: Callable[[World], None]
    stage: str
    check: str
    message: str = ""


def _export(name: str) -> Callable[[World], None]:
    """Plant a known fault of an export into the training data."""
    return lambda world: world.write(snapshot=find_fault(name).make(SNAPSHOT_ROWS, SEED))


def _both(name: str) -> Callable[[World], None]:
    """Plant a known fault of the source into the training data and the holdout."""
    return lambda world: world.write(find_fault(name).make(SNAPSHOT_ROWS, SEED), find_fault(name).make(10_000, SEED + 1))


def _snapshot(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[World], None]:
    return lambda world: world.write(snapshot=change(simulate_customers(SNAPSHOT_ROWS, SEED)))


def _model(change: Callable[[Any], Any]) -> Callable[[World], None]:
    def plant(world: World) -> None:
        world.alter_model = change

    return plant


def _source(path: str, old: str, new: str) -> Callable[[World], None]:
    """Plant a fault into the project's code."""

    def plant(world: World) -> None:
        file = world.root / path
        text = file.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise AssertionError(f"{path} does not contain {old!r} exactly once")
        file.write_text(text.replace(old, new), encoding="utf-8")

    return plant


def _release(change: Callable[[Path], str | None]) -> Callable[[World], None]:
    def plant(world: World) -> None:
        world.alter_release = change

    return plant


# --- The data -----------------------------------------------------------------------------------------------------------------


def _new_contract(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(contract_type=rows["contract_type"].where(np.arange(len(rows)) % 200 != 0, "weekly"))


def _more_positives(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out customers who stayed until half of the rows are positive, as a balanced sample has them."""
    more = simulate_customers(3 * SNAPSHOT_ROWS, SEED + 5)
    positives, negatives = (more[more["churned"] == label].head(SNAPSHOT_ROWS // 2) for label in (1, 0))
    return pd.concat([positives, negatives]).sample(frac=1, random_state=1).reset_index(drop=True)


def _logins_of_the_future(rows: pd.DataFrame) -> pd.DataFrame:
    """Customers who stayed have logged in since the day of the export: the feature knows the outcome."""
    later = str(AS_OF + np.timedelta64(20, "D"))
    return rows.assign(last_login_at=rows["last_login_at"].mask((rows["churned"] == 0) & rows["last_login_at"].notna(), later))


def _leaked_label(rows: pd.DataFrame) -> pd.DataFrame:
    """The hour of usage says whether the customer left. At prediction it does not."""
    return rows.assign(usage_hour=pd.array(np.where(rows["churned"] == 1, 18, 6), dtype="Int64"))


def _shuffled_labels(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(churned=np.random.default_rng(SEED).permutation(rows["churned"].to_numpy()))


def _delayed_labels(rows: pd.DataFrame) -> pd.DataFrame:
    """It is not known yet who of the new customers leaves, and the export says that they stay."""
    return rows.assign(churned=rows["churned"].mask(rows["tenure_months"] <= 9, 0))


def _train_on_the_holdout(world: World) -> None:
    """200 rows of the holdout are in the training data."""
    own, other = simulate_customers(SNAPSHOT_ROWS, SEED), pd.read_parquet(world.holdout)
    world.write(snapshot=pd.concat([own.iloc[200:], other.head(200)], ignore_index=True))


def train_on_copies(number: int) -> Callable[[World], None]:
    """Replace some rows of the training data by rows of the holdout, with new ids."""

    def plant(world: World) -> None:
        own, other = simulate_customers(SNAPSHOT_ROWS, SEED), pd.read_parquet(world.holdout)
        copies = other.head(number).assign(customer_id=own["customer_id"].head(number).to_numpy())
        world.write(snapshot=pd.concat([own.iloc[number:], copies], ignore_index=True))

    return plant


def _train_on_copies_in_repeated_rows(world: World) -> None:
    """200 rows of the holdout have new ids, among training rows that occur three times each."""
    own, other = simulate_customers(SNAPSHOT_ROWS, SEED), pd.read_parquet(world.holdout)
    spare = simulate_customers(SNAPSHOT_ROWS, SEED + 9)["customer_id"].to_numpy()
    rows = pd.concat([*[own.head((SNAPSHOT_ROWS - 200) // 3)] * 3, other.head(200)], ignore_index=True)
    world.write(snapshot=rows.assign(customer_id=spare[: len(rows)]))


def _flip_enterprises(world: World) -> None:
    """The holdout is right. In the training data, the effect of tenure is reversed for enterprises."""
    world.write(holdout=find_fault("enterprise_flipped").make(10_000, SEED + 1))


# --- The code and the model ---------------------------------------------------------------------------------------------------


def _scale_wrongly(model: Any) -> Any:
    """The scaler was fitted on other data, so every feature counts too much."""
    model.named_steps["scale"].scale_ = model.named_steps["scale"].scale_ * 0.4
    return model


def _encode_by_old_codes(model: Any) -> Any:
    """The encoder knows only the codes of the old billing system, so that every contract is unseen."""
    for encoder in model.named_steps["encode"].encoders_:
        if encoder.column == "contract_type":
            encoder.categories_ = ["12M", "24M+", "M2M"]
    return model


def _truncate(file: Path) -> None:
    stored = file.read_bytes()
    file.write_bytes(stored[: len(stored) // 2])


def _truncate_artifact(world: World) -> None:
    world.alter_model_file = _truncate


# --- The gate -----------------------------------------------------------------------------------------------------------------


def _no_better(world: World) -> None:
    """The challenger has the champion's features."""
    world.configure(features=CHAMPION_FEATURES)


def _no_better_and_sorted(world: World) -> None:
    """The same, and the loader returns the rows in another order than when the champion was scored."""
    _no_better(world)
    code = "from churn.data import load_churn_data\n\ndef load(path):\n    rows = load_churn_data(path)\n"
    (world.root / "sorted_rows.py").write_text(code + "    return rows.sort_values('monthly_spend').reset_index(drop=True)\n")
    toml = world.root / "sluice.toml"
    toml.write_text(toml.read_text().replace("churn.data:load_churn_data", "sorted_rows:load"))


class Reads:
    """A transformer whose code is a module of the project. The pickle contains only its name."""

    def fit(self, rows: pd.DataFrame, labels: object = None) -> Reads:
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        import reading_rule

        return reading_rule.read(rows)


def _change_code_under_the_model(world: World) -> None:
    """The gate has promoted the model. Then the code changes that it calls, and the same file is asked about again."""
    rule = world.root / "reading_rule.py"
    rule.write_text("def read(rows):\n    return rows\n")
    _forget(world.root)
    world.loads = False
    world.alter_model = _insert_reading
    if run_pipeline(world) is not None:
        raise AssertionError("the gate must promote the model first")
    shutil.copyfile(world.root / "run" / "model.joblib", world.root / "promoted.joblib")
    rule.write_text("def read(rows):\n    return rows.assign(usage_hour=18, acquisition_channel='referral')\n")
    _forget(world.root)
    world.alter_model = lambda _: joblib.load(world.root / "promoted.joblib")


def _insert_reading(model: Any) -> Any:
    model.steps.insert(0, ("read", Reads()))
    return model


def _forget(root: Path) -> None:
    """Let the next import read the module again, as a new process does."""
    sys.modules.pop("reading_rule", None)
    sys.path[:] = [str(root), *[name for name in sys.path if name != str(root)]]
    sys.path_importer_cache.clear()
    shutil.rmtree(root / "__pycache__", ignore_errors=True)


def _delete_ledger(world: World) -> None:
    world.before_gate = lambda world: shutil.rmtree(world.project.state / "ledger")


def _spend_and_encode_again(world: World) -> None:
    """The budget is spent. The same rows in another order, compressed in another way, give no new one."""
    project = world.project
    holdout, rule, ledger = open_holdout(project), read_rule(project), open_ledger(project)
    for number in range(rule.budget):
        question = Question(
            challenger=f"sha256:{number:064x}",
            champion=None,
            rule=rule,
            row_set=holdout.row_set.digest,
            gate_rows=digest_rows(holdout.gate.ids),
            scores=f"sha256:{number:064x}",
        )
        ledger.ask(question, holdout.row_set, holdout=holdout.digest, rule=rule, heads=read_heads(project))
    table = pd.read_parquet(world.holdout).sample(frac=1, random_state=1)
    other = world.root / "data" / "again.parquet"
    table.to_parquet(other, compression="gzip", index=False)
    other.replace(world.holdout)
    world.configure()


# --- The release --------------------------------------------------------------------------------------------------------------


def _truncate_released(folder: Path) -> None:
    (folder / "model.joblib").chmod(0o644)
    _truncate(folder / "model.joblib")


def _other_library(folder: Path) -> str:
    """The release says that it was made with another scikit-learn."""
    file = folder / "manifest.json"
    file.chmod(0o644)
    manifest = json.loads(file.read_text())
    manifest["environment"]["fingerprint"]["libraries"]["scikit-learn"] = "1.2.0"
    file.write_text(json.dumps(manifest))
    return layer_digest(folder)


def _other_code(folder: Path) -> str:
    """The release contains features of an older commit than the model was fitted with."""
    file = folder / "code" / "churn" / "features.py"
    file.chmod(0o644)
    text = file.read_text()
    if text.count("np.log1p(np.maximum(numbers, 0.0))") != 1:
        raise AssertionError("churn/features.py has changed")
    file.write_text(text.replace("np.log1p(np.maximum(numbers, 0.0))", "np.sqrt(np.maximum(numbers, 0.0))"))
    return layer_digest(folder)


FAULTS = [
    Fault(
        "hour 24 is not hour 0",
        _source("churn/features.py", "np.mod(read_numbers(series), period) / period", "read_numbers(series) / (period + 1)"),
        "code tests",
        "test_hour_24_is_hour_0",
    ),
    Fault(
        "shares of categories do not sum to one",
        _source("churn/features.py", "if normalize else 1.0", "if normalize else 2.0"),
        "code tests",
        "test_known_shares_and_counts",
    ),
    Fault(
        "the loader keeps repeated ids",
        _source("churn/data.py", '    _require_none(column, column.duplicated(), name, "repeats an id")\n', ""),
        "code tests",
        "test_repeated_ids_are_shown",
    ),
    Fault("unit change", _export("broken_column"), "data tests", "mean_to_be_between[monthly_spend]"),
    Fault("codes of another system", _export("garbled_contracts"), "data tests", "values_to_be_in_set[contract_type]"),
    Fault("new category", _snapshot(_new_contract), "data tests", "values_to_be_in_set[contract_type]"),
    Fault("null ids", _export("null_ids"), "data tests", "values_to_not_be_null[customer_id]"),
    Fault("duplicated ids", _export("duplicate_ids"), "data tests", "values_to_be_unique[customer_id]"),
    Fault(
        "missing column",
        _export("missing_column"),
        "data tests",
        "table_columns_to_match_set[customer_id,tenure_months,monthly_spend,contract_type,is_enterprise,signup_date,last_login_at,usage_hour,acquisition_channel,churned]",
    ),
    Fault("half of a column is missing", _export("missing_logins"), "data tests", "values_to_not_be_null[last_login_at]"),
    Fault("truncated export", _export("truncated"), "data tests", "table_row_count_to_be_between"),
    Fault("labels other than 0 and 1", _export("bad_labels"), "data tests", "values_to_be_in_set[churned]"),
    Fault("shift of the class balance", _snapshot(_more_positives), "data tests", "mean_to_be_between[churned]"),
    Fault("time leakage", _snapshot(_logins_of_the_future), "data tests", "test_no_date_is_later_than_the_export"),
    Fault("holdout rows in the training data", _train_on_the_holdout, "training", "RefusedError", "200 by id"),
    Fault("copies of holdout rows", train_on_copies(200), "training", "RefusedError", "200 by features and label"),
    Fault(
        "copies of holdout rows among repeated training rows",
        _train_on_copies_in_repeated_rows,
        "training",
        "RefusedError",
        "200 by features and label",
    ),
    Fault("leaked label", _snapshot(_leaked_label), "model tests", "auc"),
    Fault("shuffled labels", _snapshot(_shuffled_labels), "model tests", "auc"),
    Fault("weak signal", _both("weak_signal"), "model tests", "auc"),
    Fault("probability of the other class", _model(broken_models.OtherClass), "model tests", "auc"),
    Fault("effect in a subgroup flipped", _flip_enterprises, "model tests", "auc_enterprise"),
    Fault("label delay", _snapshot(_delayed_labels), "model tests", "calibration_mean"),
    Fault("training on balanced classes", _model(broken_models.Shifted), "model tests", "calibration_mean"),
    Fault("wrong scaler", _model(_scale_wrongly), "model tests", "calibration_slope"),
    Fault("swapped codes", _both("swapped_contracts"), "model tests", "contract_effect"),
    Fault("stale preprocessing", _model(_encode_by_old_codes), "model tests", "contract_effect", "ties"),
    Fault("NaN predictions", _model(broken_models.NanForGaps), "model tests", "probability_for_every_row"),
    Fault("scores that are no probabilities", _model(broken_models.OutOfRange), "model tests", "probability_for_every_row"),
    Fault(
        "an error for rows with gaps", _model(broken_models.FailsOnGaps), "model tests", "test_rows_with_gaps_have_a_probability"
    ),
    Fault(
        "the batch changes a row",
        _model(broken_models.RanksOfTheBatch),
        "model tests",
        "test_the_probability_of_a_row_does_not_depend_on_its_batch",
    ),
    Fault("truncated model file", _truncate_artifact, "model tests", "IntegrityError", "but training recorded"),
    Fault("no better than the champion", _no_better, "gate", "gate", "the champion stays"),
    Fault("sorted loader", _no_better_and_sorted, "gate", "gate", "the champion stays"),
    Fault("changed code under the same model file", _change_code_under_the_model, "gate", "gate", "the champion stays"),
    Fault("deleted ledger", _delete_ledger, "gate", "StateError", "was deleted, shortened or replaced"),
    Fault("holdout encoded again", _spend_and_encode_again, "gate", "UndecidedError", "is spent"),
    Fault("truncated model in the release", _release(_truncate_released), "load", "IntegrityError"),
    Fault("other library version", _release(_other_library), "load", "RefusedError", "scikit-learn"),
    Fault("older feature code in the release", _release(_other_code), "load", "RefusedError"),
]
