"""Proposed expectations: the snapshot meets them, the next one does too, and known faults of an export do not."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from churn.data import load_churn_data, read_export
from churn.simulation import make_export, write_export
from sluice.checks.expectation_files import FILE_NAME, propose_suite, write_module, write_suite
from sluice.checks.expectation_proposals import Proposal, propose_expectations
from sluice.checks.expectations import run_expectations
from sluice.errors import DataError, UsageError
from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sluice.checks.layers import LayerResult
    from sluice.project.projects import Project


def by_column(frame: pd.DataFrame) -> dict[tuple[str, str], Proposal]:
    proposals = propose_expectations(frame, label="left", key="key")
    return {(one.kind, str(one.arguments.get("column", ""))): one for one in proposals if one.kind}


def make_frame(rows: int = 2000, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"key": range(rows), **columns, "left": np.arange(rows) % 5 == 0}).astype({"left": int})


def load_module(source: str) -> list[Any]:
    """Run the text of a proposed module, and return its expectations."""
    names: dict[str, Any] = {}
    exec(compile(source, "proposed", "exec"), names)  # noqa: S102 - the module under test
    return list(names["expect_snapshot"]())


@pytest.fixture(scope="module")
def expectations(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The proposals from an export of the example without a fault."""
    path = tmp_path_factory.mktemp("export") / "export.parquet"
    write_export(make_export(12_000, 1), path)
    proposals = propose_expectations(load_churn_data(path), label="churned", key="customer_id")
    return load_module(write_module(proposals, source="export.parquet", digest="sha256:0", module="proposed"))


def find_unmet(expectations: list[Any], path: Path) -> set[str]:
    verdicts = run_expectations(read_export(path), expectations, name="proposed")
    return {verdict.check for verdict in verdicts if verdict.outcome is not Outcome.PASS}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_snapshot_and_the_next_ones_meet_the_proposals(expectations: list[Any], tmp_path: Path, seed: int) -> None:
    write_export(make_export(12_000, seed), tmp_path / "export.parquet")
    assert find_unmet(expectations, tmp_path / "export.parquet") == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("broken_column", "mean_to_be_between[monthly_spend]"),
        ("garbled_contracts", "values_to_be_in_set[contract_type]"),
        ("duplicate_ids", "values_to_be_unique[customer_id]"),
        ("null_ids", "values_to_not_be_null[customer_id]"),
        ("missing_logins", "values_to_not_be_null[last_login_at]"),
        ("truncated", "table_row_count_to_be_between"),
        ("bad_labels", "values_to_be_in_set[churned]"),
        ("missing_column", "values_to_be_between[usage_hour]"),
    ],
)
def test_a_faulty_export_does_not_meet_the_proposals(expectations: list[Any], tmp_path: Path, fault: str, check: str) -> None:
    write_export(make_export(12_000, 2, fault=fault), tmp_path / "export.parquet")
    assert check in find_unmet(expectations, tmp_path / "export.parquet")


def test_each_proposal_has_evidence() -> None:
    proposals = propose_expectations(make_frame(age=np.arange(2000) % 60 / 1.5), label="left", key="key")
    assert all(proposal.evidence for proposal in proposals)


@pytest.mark.parametrize(
    ("values", "kind", "arguments"),
    [
        (np.arange(2000) % 24, "ExpectColumnValuesToBeBetween", {"min_value": 0, "max_value": 23}),
        (np.arange(2000), "ExpectColumnValuesToBeBetween", {"min_value": 0, "max_value": 4000}),
        (np.arange(2000) - 1000.5, "ExpectColumnValuesToBeBetween", {"min_value": -3000.0, "max_value": 3000.0}),
        (np.full(2000, 7.0), "ExpectColumnValuesToBeBetween", {"min_value": 0, "max_value": 14}),
        (np.arange(2000) % 2 == 0, "ExpectColumnValuesToBeInSet", {"value_set": [True, False]}),
        (["a", "b"] * 1000, "ExpectColumnValuesToBeInSet", {"value_set": ["a", "b"]}),
        (["a", "b"] * 995 + list("0123456789"), "ExpectColumnValuesToBeInSet", {"mostly": 0.99}),
        (["2026-01-02", "2026-01-03"] * 1000, "ExpectColumnValuesToMatchRegex", {"regex": r"^\d{4}-\d{2}-\d{2}$"}),
        ([None] * 400 + [1.0] * 1600, "ExpectColumnValuesToNotBeNull", {"mostly": 0.538}),
        ([1.0] * 2000, "ExpectColumnValuesToNotBeNull", {}),
    ],
    ids=["hours", "counts", "real numbers", "one number", "flags", "categories", "rare categories", "dates", "gaps", "no gaps"],
)
def test_the_proposal_for_a_column_follows_its_values(values: Any, kind: str, arguments: Mapping[str, object]) -> None:
    proposal = by_column(make_frame(x=values))[kind, "x"]
    assert {name: proposal.arguments[name] for name in arguments} == arguments
    assert ("mostly" in proposal.arguments) == ("mostly" in arguments)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([None] * 2000, "all values are missing"),
        ([f"name {number}" for number in range(2000)], "2,000 different texts in 2,000 values are no categories"),
        ([[1], [2]] * 1000, "no rule for values of type list"),
        (pd.date_range("2026-01-01", periods=2000), "no rule for values of type Timestamp"),
        ([np.inf] * 2000, "no value is finite"),
        ([np.inf] * 10 + [1.0] * 1990, "10 of 2,000 values are infinite, so no bounds are proposed"),
    ],
)
def test_a_column_without_a_rule_is_named(values: Any, reason: str) -> None:
    evidence = [one.evidence for one in propose_expectations(make_frame(x=values), label="left", key="key") if not one.kind]
    assert [text for text in evidence if text.startswith("'x'") and reason in text]


def test_columns_of_one_name_and_names_that_are_no_text_are_named() -> None:
    frame = make_frame(x=1.0, y=2.0).rename(columns={"y": "x"})
    frame[7] = 1
    evidence = [one.evidence for one in propose_expectations(frame, label="left", key="key") if not one.kind]
    assert evidence == [
        "'x': nothing is proposed, because the name occurs more than once",
        "7: nothing is proposed, because the name is not a text",
    ]


def test_text_from_the_data_cannot_become_code() -> None:
    nasty = 'x\n    ]\nimport os; os.abort()  # \u2028\r\x0c\'"""'
    frame = make_frame(**{nasty: ["a" + nasty, "b"] * 1000})
    proposals = propose_expectations(frame, label="left", key="key")
    source = write_module(proposals, source=nasty, digest="sha256:0", module="proposed")
    body = ast.parse(source).body
    assert [type(node).__name__ for node in body] == ["Expr", "Import", "FunctionDef"]
    calls = body[-1].body[-1].value.elts  # type: ignore[attr-defined]
    assert len(calls) == sum(bool(proposal.kind) for proposal in proposals)
    sets = [ast.literal_eval(word.value) for call in calls for word in call.keywords if word.arg == "value_set"]
    assert sorted(["a" + nasty, "b"]) in sets


def test_an_existing_file_is_not_overwritten(shop: Project) -> None:
    suite = propose_suite(shop)
    assert suite.file == shop.root / "tests" / "data" / FILE_NAME
    assert not suite.file.exists()
    write_suite(suite, force=False)
    suite.file.write_text("# reviewed\n")
    with pytest.raises(UsageError, match="exists already") as refused:
        write_suite(suite, force=False)
    assert "--force" in refused.value.hint
    assert suite.file.read_text() == "# reviewed\n"
    write_suite(suite, force=True)
    assert suite.file.read_text() == suite.source


def test_a_snapshot_that_the_loader_rejects_is_an_error(shop: Project) -> None:
    (shop.root / "data" / "customers.csv").write_text("key,left\n1,0\n")
    with pytest.raises(DataError, match="column 'spend' is missing"):
        propose_suite(shop)


@pytest.mark.slow
def test_the_command_proposes_and_a_test_of_the_suite_uses_it(shop: Project, run: Callable[..., LayerResult]) -> None:
    command = [sys.executable, "-m", "sluice", "init-expectations", "--project", str(shop.root), "--output", "json"]
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    planned = subprocess.run([*command, "--dry-run"], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(planned.stdout)["outcome"] == "would-write"
    file = shop.root / "tests" / "data" / FILE_NAME
    assert not file.exists()
    written = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert (written["outcome"], written["data"]["file"]) == ("written", str(file))
    assert {"kind", "arguments", "evidence"} == set(written["data"]["proposals"][0])
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    result = run(
        """
        from proposed_expectations import expect_snapshot
        from sluice.checks.expectations import run_expectations

        def test_snapshot(snapshot, verify):
            verify(run_expectations(snapshot.frame, expect_snapshot(), name="snapshot"))
        """,
        layer="data",
    )
    assert result.outcome is Outcome.PASS, [verdict for verdict in result.verdicts if verdict.blocks]
    assert len(result.verdicts) == sum(bool(one["kind"]) for one in written["data"]["proposals"])
