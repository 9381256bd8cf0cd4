"""Layer 4: the packaged release, served as in production and queried over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sluice.release.fingerprint import read_fingerprint, same_cpu
from sluice.release.project_releases import open_releases
from sluice.scoring.release_scores import score_in_process

if TYPE_CHECKING:
    from sluice.data.holdout import LabelledRows
    from sluice.project.projects import Project
    from sluice.scoring.server_process import ReleaseServer

ROUNDING = 1e-12
"""The largest allowed difference of a probability if another processor or batch may change the last bits."""


@pytest.fixture
def row(holdout: LabelledRows) -> dict[str, Any]:
    """A customer without missing values, as JSON."""
    complete = holdout.features.dropna().head(1)
    return {str(name): value for name, value in complete.astype(object).to_dict("records")[0].items()}


def ask(service: ReleaseServer, *rows: dict[str, Any]) -> list[float]:
    """Return the probabilities for rows as JSON objects. Every answer must be a probability."""
    response = service.post({"data": {"names": list(rows[0]), "ndarray": [list(row.values()) for row in rows]}})
    assert response.status_code == HTTPStatus.OK, response.text
    found = [answer for (answer,) in response.json()["data"]["ndarray"]]
    assert len(found) == len(rows)
    assert all(isinstance(answer, float) and 0.0 <= answer <= 1.0 for answer in found)
    return found


def test_golden_rows_get_the_same_answers_as_in_training(service: ReleaseServer, project: Project) -> None:
    """The golden rows get the answers of the training: exactly on the same type of processor, otherwise up to rounding."""
    manifest = open_releases(project).get(service.digest).manifest
    served = service.predict(service.golden.frame())
    if same_cpu(manifest["environment"]["fingerprint"], read_fingerprint()):
        assert np.array_equal(served, service.golden.expected)
    assert served == pytest.approx(service.golden.expected, abs=ROUNDING)


def test_the_server_agrees_with_the_training_environment(service: ReleaseServer, project: Project, holdout: LabelledRows) -> None:
    """The server gives the same answers for test rows as the release's own code in the training environment."""
    rows = holdout.features.head(500)
    (trained,) = score_in_process(open_releases(project).unpack(service.digest), service.digest, rows)
    assert service.predict(rows) == pytest.approx(trained, abs=ROUNDING)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_batch_gets_the_same_answers_as_single_rows(service: ReleaseServer, holdout: LabelledRows, size: int) -> None:
    """The answer for a row does not depend on its batch."""
    rows = holdout.features.head(size)
    alone = np.concatenate([service.predict(rows.iloc[[number]]) for number in range(min(size, 10))])
    assert service.predict(rows)[:10] == pytest.approx(alone, abs=ROUNDING)


def test_columns_are_found_by_name(service: ReleaseServer, row: dict[str, Any]) -> None:
    """The client may send the columns in any order."""
    turned = dict(reversed(row.items()))
    assert ask(service, turned) == ask(service, row)


@pytest.mark.parametrize("column", ["contract_type", "acquisition_channel"])
def test_unknown_categories_are_answered(service: ReleaseServer, row: dict[str, Any], column: str) -> None:
    """A category that the training data does not contain is not an error."""
    ask(service, row | {column: "unheard-of"})


@pytest.mark.parametrize("column", ["monthly_spend", "last_login_at", "usage_hour", "acquisition_channel"])
def test_nulls_are_answered(service: ReleaseServer, row: dict[str, Any], column: str) -> None:
    """A null in a column in which the export has nulls is not an error."""
    ask(service, row | {column: None})


def test_a_row_of_nulls_is_answered(service: ReleaseServer, row: dict[str, Any]) -> None:
    """A customer about whom nothing is known still gets a probability."""
    ask(service, dict.fromkeys(row))


def test_the_answer_names_the_release(service: ReleaseServer, row: dict[str, Any]) -> None:
    """Every answer contains the digest of the release."""
    response = service.post({"data": {"names": list(row), "ndarray": [list(row.values())]}})
    assert response.json()["meta"]["tags"]["release"] == service.digest


def malformed(row: dict[str, Any]) -> dict[str, tuple[object, str]]:
    """Return wrong requests: the payload, and a text that the answer must contain."""
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
    """A wrong request gets a 400 with the reason, never a 500 and never a guess."""
    payload, text = malformed(row)[case]
    response = service.post(payload)
    assert response.status_code == HTTPStatus.BAD_REQUEST, response.text
    assert text in response.json()["status"]["info"]


def test_the_server_still_answers_after_wrong_requests(service: ReleaseServer, holdout: LabelledRows) -> None:
    """A wrong request does not affect other requests."""
    rows = holdout.features.head(5)
    before = service.predict(rows)
    assert service.post({"data": {"names": [], "ndarray": [[]]}}).status_code == HTTPStatus.BAD_REQUEST
    assert np.array_equal(service.predict(rows), before)
