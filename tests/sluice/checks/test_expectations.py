"""Great Expectations on small frames, without mocks."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from sluice.checks.expectations import read_result, run_expectations
from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from sluice.checks.layers import LayerResult

FRAME = pd.DataFrame(
    {
        "key": [1, 2, 2, 4],
        "contract": ["monthly", "annual", None, "weekly"],
        "spend": [10.0, 20.0, 30.0, 400.0],
        "empty": [None, None, None, None],
    }
)


@pytest.fixture(scope="module")
def gxe() -> object:
    from sluice.checks.expectations import switch_telemetry_off

    switch_telemetry_off()
    import great_expectations.expectations as module

    return module


@pytest.mark.slow
def test_each_expectation_gives_one_verdict_in_the_given_order(
    gxe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []

    def refuse(*arguments: object) -> None:
        # The call is recorded, because a thread that sends may swallow the error.
        sent.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    expectations = [
        gxe.ExpectColumnMeanToBeBetween(column="spend", min_value=20, max_value=50),
        gxe.ExpectColumnMeanToBeBetween(column="spend", min_value=20, max_value=400),
        gxe.ExpectColumnValuesToBeInSet(column="contract", value_set=["monthly", "annual"]),
        gxe.ExpectColumnValuesToBeInSet(column="contract", value_set=["monthly", "annual"], severity="warning"),
        gxe.ExpectColumnValuesToNotBeNull(column="contract", mostly=0.7),
        gxe.ExpectColumnValuesToNotBeNull(column="contract"),
        gxe.ExpectColumnValuesToBeUnique(column="key"),
        gxe.ExpectTableRowCountToBeBetween(min_value=1000),
        gxe.ExpectColumnValuesToBeBetween(column="gone", min_value=0),
        gxe.ExpectColumnToExist(column="gone"),
        gxe.ExpectColumnValuesToBeInSet(column="empty", value_set=["a"]),
        gxe.ExpectTableColumnsToMatchSet(column_set=["key", "more"]),
    ]
    before = FRAME.copy(deep=True)
    verdicts = run_expectations(FRAME, expectations, name="customers", docs=tmp_path / "docs")
    pd.testing.assert_frame_equal(FRAME, before)
    assert [
        (verdict.check, verdict.outcome.value, verdict.observed, verdict.comparison, verdict.threshold) for verdict in verdicts
    ] == [
        ("mean_to_be_between[spend]", "fail", 115.0, ">=", 20.0),
        ("mean_to_be_between[spend]", "pass", 115.0, ">=", 20.0),
        ("values_to_be_in_set[contract]", "fail", pytest.approx(2 / 3), ">=", 1.0),
        ("values_to_be_in_set[contract]", "inconclusive", pytest.approx(2 / 3), ">=", 1.0),
        ("values_to_not_be_null[contract]", "pass", 0.75, ">=", 0.7),
        ("values_to_not_be_null[contract]", "fail", 0.75, ">=", 1.0),
        ("values_to_be_unique[key]", "fail", 0.5, ">=", 1.0),
        ("table_row_count_to_be_between", "fail", 4.0, ">=", 1000.0),
        ("values_to_be_between[gone]", "fail", None, "", None),
        ("to_exist[gone]", "fail", None, "", None),
        ("values_to_be_in_set[empty]", "inconclusive", None, "", None),
        ("table_columns_to_match_set[key,more]", "fail", None, "", None),
    ]
    assert verdicts[2].detail == "value set ['monthly', 'annual']; 1 of 4 unexpected: weekly"
    assert verdicts[2].rows == 4
    assert verdicts[7].detail == "min 1,000"
    assert verdicts[8].detail.startswith("min 0; could not be evaluated: ")
    assert '"gone" in BatchData does not exist' in verdicts[8].detail
    assert "'missing': ['more']" in verdicts[11].detail
    assert (tmp_path / "docs" / "index.html").is_file()
    # The same instances can be used again and give the same verdicts.
    again = run_expectations(FRAME, expectations, name="customers", docs=None)
    assert again == verdicts
    assert not sent
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


@pytest.mark.slow
def test_the_data_layer_writes_data_docs(run: Callable[..., LayerResult]) -> None:
    result = run(
        """
        import great_expectations.expectations as gxe
        from sluice.checks.expectations import run_expectations

        def test_customers(snapshot, verify):
            expectations = [gxe.ExpectColumnMeanToBeBetween(column="spend", min_value=10), gxe.ExpectColumnToExist(column="key")]
            verify(run_expectations(snapshot.frame, expectations, name="all customers"))
        """,
        layer="data",
    )
    assert {verdict.check: verdict.outcome for verdict in result.verdicts} == {
        "mean_to_be_between[spend]": Outcome.FAIL,
        "to_exist[key]": Outcome.PASS,
    }
    assert (result.folder / "data-docs" / "all-customers" / "index.html").is_file()
    assert 'href="data-docs/all-customers/index.html"' in (result.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("limits", "value", "expected"),
    [
        ({"min_value": 1, "max_value": 5}, 0.5, (">=", 1.0, 5.0)),
        ({"min_value": 1, "strict_min": True, "max_value": 5}, 9.0, (">", 1.0, 5.0)),
        ({"min_value": 1}, 0.5, (">=", 1.0, None)),
        ({"min_value": None, "max_value": 5}, 3.0, ("<=", 5.0, None)),
        ({"min_value": None, "max_value": 5, "strict_max": True}, 3.0, ("<", 5.0, None)),
        ({}, 3.0, ("", None, None)),
    ],
)
def test_a_verdict_shows_both_bounds(limits: dict[str, object], value: float, expected: tuple[object, ...]) -> None:
    config = {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "spend", **limits}}
    verdict = read_result({"expectation_config": config, "success": False, "result": {"observed_value": value}})
    assert (verdict.comparison, verdict.threshold, verdict.upper) == expected


def test_the_detail_contains_an_observed_value_that_is_not_a_number() -> None:
    config = {"type": "expect_column_values_to_be_of_type", "kwargs": {"column": "spend", "type_": "int64"}}
    verdict = read_result({"expectation_config": config, "success": False, "result": {"observed_value": "float64"}})
    assert (verdict.observed, verdict.detail) == (None, "type int64; observed float64")
