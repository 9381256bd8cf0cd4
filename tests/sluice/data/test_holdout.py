"""The holdout's two parts, and the errors of a holdout that cannot be used."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.data.holdout import holdout_digest, read_holdout, read_labelled_rows, split_holdout
from sluice.errors import ConfigurationError, DataError, IntegrityError, SluiceError
from sluice.project.projects import Project

if TYPE_CHECKING:
    from pathlib import Path

ids = st.one_of(st.integers(), st.text(), st.uuids())


def change(project: Project, **data: object) -> Project:
    settings = project.settings
    return Project(project.root, settings.model_copy(update={"data": settings.data.model_copy(update=data)}))


def test_the_split_of_known_ids_never_changes() -> None:
    """The expected split is fixed here, because with another rule every holdout in use would change its parts."""
    rows = [*range(12), "C-000001", "C-000002", "ß", "01"]
    assert split_holdout(rows, gate_fraction=0.5).astype(int).tolist() == [1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 1, 0, 0]


@given(st.lists(ids, max_size=50), st.floats(0.01, 0.99), st.randoms())
def test_a_row_stays_in_its_part_in_any_order(rows: list[object], fraction: float, random: object) -> None:
    sides = dict(zip(rows, split_holdout(rows, gate_fraction=fraction), strict=True))
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert dict(zip(shuffled, split_holdout(shuffled, gate_fraction=fraction), strict=True)) == sides


@given(st.lists(ids, max_size=50), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_larger_fraction_only_adds_gate_rows(rows: list[object], one: float, other: float) -> None:
    smaller, larger = (split_holdout(rows, gate_fraction=fraction) for fraction in sorted((one, other)))
    assert not (smaller & ~larger).any()


@given(st.lists(st.integers(-(2**53), 2**53), max_size=30))
def test_a_whole_number_is_the_same_id_in_any_type(rows: list[int]) -> None:
    expected = split_holdout(rows, gate_fraction=0.5).tolist()
    for variant in (
        np.array(rows, dtype=np.int64),
        np.array(rows, dtype=float),
        [str(row) for row in rows],
        pd.Series(rows, dtype="Int64"),
    ):
        assert split_holdout(variant, gate_fraction=0.5).tolist() == expected


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_the_share_of_gate_rows_is_the_fraction(fraction: float) -> None:
    share = split_holdout(range(20_000), gate_fraction=fraction).mean()
    assert share == pytest.approx(fraction, abs=5 * (fraction * (1 - fraction) / 20_000) ** 0.5)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_a_missing_id_is_refused(missing: object) -> None:
    with pytest.raises(ValueError, match="an id is missing"):
        split_holdout([1, missing], gate_fraction=0.5)


def test_the_parts_share_no_row_and_leave_none_out(depot: Project) -> None:
    test, gate = (read_holdout(depot, part=part) for part in ("test", "gate"))
    assert not set(test.ids) & set(gate.ids)
    assert len(test) + len(gate) == 300
    assert 100 < len(test) < 200


def test_features_are_all_but_label_and_id(depot: Project) -> None:
    rows = read_holdout(depot, part="test")
    assert list(rows.features.columns) == ["spend"]
    assert list(rows.frame.columns) == ["key", "spend", "left"]
    assert rows.labels.dtype == np.int8
    picked = rows.select("spend > 3 and left == 1")
    assert 0 < len(picked) < len(rows)
    assert (picked.frame["spend"] > 3).all()
    assert picked.labels.all()
    assert picked.features.index.tolist() == list(range(len(picked)))
    assert picked.ids.tolist() == picked.frame["key"].tolist()
    with pytest.raises(DataError, match=re.escape("cannot select rows by 'nothing > 3'")):
        rows.select("nothing > 3")


def test_a_declared_digest_must_hold(depot: Project) -> None:
    found = holdout_digest(depot)
    assert holdout_digest(change(depot, holdout_digest=found)) == found
    with pytest.raises(IntegrityError, match=r"sluice\.toml declares"):
        read_holdout(change(depot, holdout_digest="sha256:" + "0" * 64), part="test")


def test_an_undeclared_holdout_must_keep_the_digest_of_its_first_read(depot: Project) -> None:
    holdout_digest(depot)
    with (depot.root / "holdout.csv").open("a") as target:
        target.write("300,1,1\n")
    with pytest.raises(IntegrityError, match="was recorded when it was first read") as caught:
        holdout_digest(depot)
    declared = re.search(r"sha256:[0-9a-f]{64}", caught.value.hint).group()
    assert holdout_digest(change(depot, holdout_digest=declared)) == declared
    (depot.state / "holdout.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        holdout_digest(depot)


def test_the_first_digest_is_kept_per_source(depot: Project) -> None:
    holdout_digest(depot)
    (depot.root / "other.csv").write_text((depot.root / "holdout.csv").read_text() + "300,1,1\n")
    holdout_digest(change(depot, holdout="other.csv"))
    assert len(json.loads((depot.state / "holdout.json").read_text())) == 2


def test_a_project_with_a_read_only_state_can_read_its_holdout(depot: Project) -> None:
    depot.state.touch()
    assert len(read_holdout(depot, part="gate")) > 0


def test_a_part_without_rows_is_an_error(depot: Project) -> None:
    (depot.root / "holdout.csv").write_text("key,spend,left\n1,2,0\n")
    empty = "gate" if not split_holdout([1], gate_fraction=0.5)[0] else "test"
    with pytest.raises(DataError, match=f"has 1 rows, and none of them is a {empty} row"):
        read_holdout(depot, part=empty)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("key,left\n1,0\n", "ValueError: column 'spend' is missing$"),
        ("key,spend,left\n", "has no rows"),
        ("key,spend\n1,2\n", "has no column 'left', which data.label names; its columns are 'key', 'spend'"),
        ("spend,left\n1,0\n", "has no column 'key', which data.id names"),
        ("key,spend,left\n1,2,0\n2,2,\n", "label 'left' is missing in 1 of 2 rows"),
        ("key,spend,left\n1,2,0\n2,2,7\n", "label 'left' must be 0 or 1, but 1 rows have other values, for example 7"),
        ("key,spend,left\n1,2,yes\n", "must be 0 or 1, but 1 rows have other values, for example 'yes'"),
        ("key,spend,left\n1,2,0\n,2,0\n", "id 'key' is missing in 1 of 2 rows"),
        ("key,spend,left\n1,2,0\n1,2,0\n", "id 'key' is not unique: 1 rows repeat an earlier id, for example 1"),
        ("", "cannot read .*: EmptyDataError"),
    ],
)
def test_rows_that_break_the_contract_are_an_error_that_names_the_column(
    depot: Project, tmp_path: Path, rows: str, message: str
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(rows)
    with pytest.raises(DataError, match=message) as caught:
        read_labelled_rows(depot, file)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, "1", 2], "id 'key' is not unique: 1 rows repeat an earlier id, for example '1'"),
        ([1.5, 2.0, np.inf], "id 'key' is missing in 1 of 3 rows"),
        (["a", 1.0, -np.inf], "id 'key' is missing in 1 of 3 rows"),
    ],
)
def test_ids_are_compared_by_their_texts(depot: Project, tmp_path: Path, ids: list[object], message: str) -> None:
    """The split, the gate and the ledger know an id by its text only."""
    (depot.root / "depot.py").write_text("import pandas as pd\ndef load(path): return pd.read_pickle(path)\n")
    pd.DataFrame({"key": ids, "spend": 1, "left": [0, 1, 0]}).to_pickle(tmp_path / "rows.pickle")
    with pytest.raises(DataError, match=message):
        read_labelled_rows(depot, tmp_path / "rows.pickle")


@pytest.mark.parametrize("column", [pd.Series([True, False]), pd.Series([1.0, 0.0]), pd.Series([1, 0], dtype="Int64")])
def test_labels_of_any_type_become_numbers(depot: Project, tmp_path: Path, column: pd.Series) -> None:
    (depot.root / "depot.py").write_text("import pandas as pd\ndef load(path): return pd.read_pickle(path)\n")
    frame = pd.DataFrame({"key": ["a", "b"], "spend": [1, 2], "left": column})
    frame.to_pickle(tmp_path / "rows.pickle")
    rows = read_labelled_rows(depot, tmp_path / "rows.pickle")
    assert rows.labels.tolist() == [1, 0]
    assert rows.ids.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("loader", "kind", "message"),
    [
        ("def load(path): return [1, 2]", ConfigurationError, "returned a list instead of a pandas DataFrame"),
        ("def load(path): return {}['gone']", DataError, "KeyError: 'gone'"),
        (
            "from sluice.errors import IntegrityError\ndef load(path): raise IntegrityError('own words')",
            IntegrityError,
            "^own words$",
        ),
    ],
)
def test_a_loader_that_breaks_its_contract_is_an_error(
    depot: Project, tmp_path: Path, loader: str, kind: type[SluiceError], message: str
) -> None:
    (depot.root / "depot.py").write_text(loader)
    with pytest.raises(kind, match=message):
        read_labelled_rows(depot, tmp_path)
