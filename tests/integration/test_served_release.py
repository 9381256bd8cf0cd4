"""Layer 4: the packaged release, served as in production and asked over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sluice.release.fingerprint import read_fingerprint, same_cpu
from sluice.release.store.releases import ReleaseStore
from sluice.steps.scoring import score_release

if TYPE_CHECKING:
    from sluice.data.holdout import LabelledRows
    from sluice.project.projects import Project
    from sluice.scoring.server_process import ReleaseServer

ROUNDING = 1e-12
"""Largest difference of a probability where another processor or batch may move the last bits."""


@pytest.fixture
def row(holdout: LabelledRows) -> dict[str, Any]:
    """A customer without gaps, as JSON."""
    complete = holdout.features.dropna().head(1)
    return {str(name): value for name, value in complete.astype(object).to_dict("records")[0].items()}


def ask(service: ReleaseServer, *rows: dict[str, Any]) -> list[float]:
    """The probabilities of rows as JSON objects; every answer must be one."""
    response = service.post({"data": {"names": list(rows[0]), "ndarray": [list(row.values()) for row in rows]}})
    assert response.status_code == HTTPStatus.OK, response.text
    found = [answer for (answer,) in response.json()["data"]["ndarray"]]
    assert len(found) == len(rows)
    assert all(isinstance(answer, float) and 0.0 <= answer <= 1.0 for answer in found)
    return found


def test_golden_rows_are_equal(service: ReleaseServer, project: Project) -> None:
    """The golden rows have the answers of training: to the bit on the same class of processor, else to rounding."""
    manifest = ReleaseStore(project.state / "releases").get(service.digest).manifest
    served = service.predict(service.golden.frame())
    if same_cpu(manifest["environment"]["fingerprint"], read_fingerprint()):
        assert np.array_equal(served, service.golden.expected)
    assert served == pytest.approx(service.golden.expected, abs=ROUNDING)


def test_parity_with_the_training_side(service: ReleaseServer, project: Project, holdout: LabelledRows) -> None:
    """The service answers test rows as the release's own code does where it was trained."""
    rows = holdout.features.head(500)
    trained = score_release(project, ReleaseStore(project.state / "releases").get(service.digest), rows)
    assert service.predict(rows) == pytest.approx(trained, abs=ROUNDING)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_batches_are_answered_as_single_rows(service: ReleaseServer, holdout: LabelledRows, size: int) -> None:
    """A row's answer does not depend on the batch."""
    rows = holdout.features.head(size)
    alone = np.concatenate([service.predict(rows.iloc[[number]]) for number in range(min(size, 10))])
    assert service.predict(rows)[:10] == pytest.approx(alone, abs=ROUNDING)


def test_columns_are_found_by_name(service: ReleaseServer, row: dict[str, Any]) -> None:
    """The order of the columns is the caller's business."""
    turned = dict(reversed(row.items()))
    assert ask(service, turned) == ask(service, row)


@pytest.mark.parametrize("column", ["contract_type", "acquisition_channel"])
def test_unknown_categories_are_answered(service: ReleaseServer, row: dict[str, Any], column: str) -> None:
    """A category that training has not seen is no error."""
    ask(service, row | {column: "unheard-of"})


@pytest.mark.parametrize("column", ["monthly_spend", "last_login_at", "usage_hour", "acquisition_channel"])
def test_nulls_are_answered(service: ReleaseServer, row: dict[str, Any], column: str) -> None:
    """A null where the export has nulls is no error."""
    ask(service, row | {column: None})


def test_a_row_of_nulls_is_answered(service: ReleaseServer, row: dict[str, Any]) -> None:
    """Of a customer who is not known at all there is still a probability."""
    ask(service, dict.fromkeys(row))


def test_the_answer_names_the_release(service: ReleaseServer, row: dict[str, Any]) -> None:
    """Every answer says which release gave it."""
    response = service.post({"data": {"names": list(row), "ndarray": [list(row.values())]}})
    assert response.json()["meta"]["tags"]["release"] == service.digest


def malformed(row: dict[str, Any]) -> dict[str, tuple[object, str]]:
    """Requests that are the caller's fault: payload, and a word that the answer must say."""
    names, values = list(row), list(row.values())
    return {
        "no JSON": ("{", ""),
        "no data": ({"rows": [values]}, "data"),
        "no names": ({"data": {"ndarray": [values]}}, "names"),
        "no rows": ({"data": {"names": names}}, "ndarray"),
        "a row that is no list": ({"data": {"names": names, "ndarray": values}}, "row"),
        "a value too few": ({"data": {"names": names, "ndarray": [values[:-1]]}}, "row"),
        "a column too few": ({"data": {"names": names[1:], "ndarray": [values[1:]]}}, names[0]),
        "an unknown column": ({"data": {"names": [*names, "shoe_size"], "ndarray": [[*values, 43]]}}, "shoe_size"),
        "a column twice": ({"data": {"names": [*names, names[0]], "ndarray": [[*values, values[0]]]}}, names[0]),
        "text for a number": (
            {"data": {"names": names, "ndarray": [list((row | {"monthly_spend": "a lot"}).values())]}},
            "monthly_spend",
        ),
        "a list for a value": (
            {"data": {"names": names, "ndarray": [list((row | {"tenure_months": [1]}).values())]}},
            "tenure_months",
        ),
    }


CASES = tuple(malformed({"tenure_months": 1, "monthly_spend": 1.0}))


@pytest.mark.parametrize("case", CASES)
def test_malformed_requests_are_refused(service: ReleaseServer, row: dict[str, Any], case: str) -> None:
    """A request that is wrong gets a 400 that says what is wrong, never a 500 and never a guess."""
    payload, word = malformed(row)[case]
    response = service.post(payload)
    assert response.status_code == HTTPStatus.BAD_REQUEST, response.text
    assert word in response.json()["status"]["info"]


def test_it_still_answers_after_bad_requests(service: ReleaseServer, holdout: LabelledRows) -> None:
    """A bad request harms nobody else."""
    rows = holdout.features.head(5)
    before = service.predict(rows)
    assert service.post({"data": {"names": [], "ndarray": [[]]}}).status_code == HTTPStatus.BAD_REQUEST
    assert np.array_equal(service.predict(rows), before)
