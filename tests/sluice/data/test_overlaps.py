"""Rows of the holdout in the training data are found by id and by content, and honest repetitions are no overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from sluice.data.coincidences import Groups, HoldoutGroups, explain_by_chance, explain_by_holdout
from sluice.data.labelled_rows import LabelledRows
from sluice.data.overlaps import MAX_CHANCE, find_overlap, find_shared_ids
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable


def as_rows(frame: pd.DataFrame) -> LabelledRows:
    frame = frame.reset_index(drop=True)
    ids = np.empty(len(frame), dtype=object)
    ids[:] = frame["id"].tolist()
    return LabelledRows(frame, frame.drop(columns=["id", "y"]), frame["y"].to_numpy().astype(np.int8), ids)


def make_numbers(rows: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    values = {"a": generator.normal(size=rows), "b": generator.normal(size=rows)}
    return pd.DataFrame({"id": np.arange(rows) + seed * 10**7, **values, "y": generator.integers(0, 2, rows)})


def make_categories(rows: int, seed: int) -> pd.DataFrame:
    """Make rows with 320 different contents, so that nearly all of them repeat."""
    generator = np.random.default_rng(seed)
    values = {"a": generator.integers(0, 20, rows), "b": generator.choice(list("abcdefgh"), rows)}
    return pd.DataFrame({"id": np.arange(rows) + seed * 10**7, **values, "y": (generator.random(rows) < 0.2).astype(int)})


def make_long_tail(rows: int, seed: int) -> pd.DataFrame:
    """Make rows of which some contents are frequent and many are rare."""
    generator = np.random.default_rng(seed)
    values = {"a": generator.zipf(1.3, rows), "b": generator.integers(0, 10, rows)}
    return pd.DataFrame({"id": np.arange(rows) + seed * 10**7, **values, "y": (generator.random(rows) < 0.2).astype(int)})


def test_rows_with_the_same_id_are_an_overlap_even_if_everything_else_differs() -> None:
    holdout, training = make_numbers(500, 1), make_numbers(2000, 2)
    training.loc[training.index[:4], "id"] = holdout["id"].to_numpy()[10:14]
    found = find_overlap(as_rows(holdout), as_rows(training))
    assert found.refused
    assert found.to_dict()["by_id"] == 4
    assert found.to_dict()["by_content"] == 0
    assert found.describe() == (
        "4 of 500 holdout rows are in the other data: 4 by id; for example the rows with the id 10000010, 10000011, 10000012"
    )


@pytest.mark.parametrize("make", [make_numbers, make_long_tail])
def test_copies_with_new_ids_are_found_by_their_content(make: Callable[[int, int], pd.DataFrame]) -> None:
    holdout, training = make(4000, 1), make(12_000, 2)
    copies = holdout.assign(id=holdout["id"] + 5)
    copies["id"] += 10**9
    found = find_overlap(as_rows(holdout), as_rows(pd.concat([training, copies])))
    assert found.refused
    assert not found.by_id.any()
    assert found.by_content.all()
    assert f"{len(holdout):,} of {len(holdout):,} holdout rows are in the other data" in found.describe()


def test_fifty_copies_among_five_thousand_rows_are_found_although_they_were_written_in_another_way() -> None:
    holdout, training = make_numbers(5000, 1), make_numbers(20_000, 2)
    copies = holdout.sample(50, random_state=1).assign(id=[f"new-{row}" for row in range(50)])
    copies = copies[["y", "b", "a", "id"]].astype({"a": "float32", "b": str, "y": float})
    found = find_overlap(as_rows(holdout), as_rows(pd.concat([training, copies])))
    assert found.has_copies
    assert found.contents == 50


@pytest.mark.parametrize("make", [make_numbers, make_categories, make_long_tail])
def test_two_honest_samples_are_never_an_overlap(make: Callable[[int, int], pd.DataFrame]) -> None:
    for seed in range(20):
        found = find_overlap(as_rows(make(2000, 100 + seed)), as_rows(make(6000, 200 + seed)))
        assert not found.refused, found.describe()
        assert found.contents <= found.expected + 6 * (found.expected**0.5) + 1


def test_a_holdout_of_another_world_is_no_overlap() -> None:
    """Frequent contents became more frequent, and the holdout has equally many rows of both labels."""
    training = make_long_tail(12_000, 1)
    later = make_long_tail(12_000, 2)
    later = pd.concat([later, later[later["a"] == 1].assign(id=lambda rows: rows["id"] + 10**9)])
    chosen = pd.concat([later[later["y"] == label].sample(2000, random_state=3) for label in (0, 1)])
    found = find_overlap(as_rows(chosen), as_rows(training))
    assert not found.refused, found.describe()
    assert found.contents > 50


def test_the_bound_is_never_below_the_frequency_of_honest_coincidences() -> None:
    """3,000 pairs of honest samples, in which a pair of rows repeats now and then: the bound of the chance must hold."""
    generator = np.random.default_rng(7)
    bounds = []
    for _ in range(3000):
        values = generator.integers(0, 20_000, 400)
        mine, yours = values[:100], values[100:]
        contents, sizes = np.unique(values, return_counts=True)
        shared = len(np.intersect1d(mine, yours))
        assert len(contents) == len(sizes)
        bounds.append(explain_by_chance([Groups(share=0.25, shared=shared, sizes=sizes)]).bound if shared else 1.0)
    for level in (0.5, 0.1, 0.01):
        assert np.mean(np.array(bounds) <= level) <= level
    assert min(bounds) > MAX_CHANCE


@pytest.mark.parametrize("copied", [1, 3, 5, 10, 19])
@pytest.mark.parametrize("rows", [(8000, 8000), (80_000, 8000), (1000, 800)])
def test_a_few_copies_are_a_warning_if_rows_hardly_ever_repeat(copied: int, rows: tuple[int, int]) -> None:
    training, holdout = make_numbers(rows[0], 1), make_numbers(rows[1], 2)
    copies = holdout.head(copied).assign(id=lambda frame: frame["id"] + 10**9)
    found = find_overlap(as_rows(holdout), as_rows(pd.concat([training, copies])))
    assert found.has_repeated_rows or found.refused
    assert "because rows repeat" not in found.describe()
    assert "chance explains 0 of them" in found.describe() or "coincidence does not explain" in found.describe()


@pytest.mark.parametrize("copied", [400, 40])
def test_copies_are_found_although_the_training_rows_were_repeated_on_purpose(copied: int) -> None:
    training, holdout = make_numbers(5000, 1), make_numbers(5000, 2)
    repeated = pd.concat([training] * 3 + [holdout.head(copied)]).assign(id=lambda frame: np.arange(len(frame)) + 10**9)
    found = find_overlap(as_rows(holdout), as_rows(repeated))
    assert found.has_copies if copied == 400 else found.has_repeated_rows
    assert found.expected == 0


@pytest.mark.parametrize("make", [make_numbers, make_categories, make_long_tail])
def test_training_rows_that_were_repeated_on_purpose_are_no_overlap(make: Callable[[int, int], pd.DataFrame]) -> None:
    for seed in range(5):
        training = pd.concat([make(4000, 300 + seed)] * 4).assign(id=lambda frame: np.arange(len(frame)) + 10**9)
        found = find_overlap(as_rows(make(2000, 400 + seed)), as_rows(training))
        assert not found.refused, found.describe()
        assert not found.has_repeated_rows, found.describe()


def test_a_holdout_of_rows_that_never_repeat_leaves_nothing_to_chance() -> None:
    """Chance explains none of 800 copies, although it would explain half of them if the split were random."""
    training, holdout = make_numbers(1000, 1), make_numbers(800, 2)
    found = find_overlap(as_rows(holdout), as_rows(pd.concat([training, holdout.assign(id=lambda frame: frame["id"] + 10**9)])))
    assert "800 by features and label (800 different ones, which coincidence does not explain)" in found.describe()


def test_the_judgement_by_the_holdout_is_never_below_the_frequency_of_honest_coincidences() -> None:
    """3,000 pairs of honest samples with rare, with medium and with frequent repetitions, and training data of three sizes."""
    generator = np.random.default_rng(8)
    for kinds in (300, 3000, 100_000):
        for others in (50, 400, 4000):
            bounds = []
            for _ in range(3000 // 9):
                mine, yours = generator.integers(0, kinds, 200), np.unique(generator.integers(0, kinds, others))
                contents, sizes = np.unique(mine, return_counts=True)
                single = contents[sizes == 1]
                shared = int(np.isin(single, yours).sum())
                double, several = int((sizes == 2).sum()), int((sizes > 1).sum())
                group = HoldoutGroups(others / 200, single=len(single), shared=shared, double=double, several=several)
                bounds.append(explain_by_holdout([group]).bound)
            for level in (0.1, 0.01):
                assert np.mean(np.array(bounds) <= level) <= level + 2 * (level / len(bounds)) ** 0.5
            assert min(bounds) > MAX_CHANCE


@pytest.mark.parametrize("column", ["export", "row number", "row number as text", "identifier"])
def test_copies_are_found_although_a_column_belongs_to_the_file(column: str) -> None:
    training, holdout = make_numbers(3000, 1), make_numbers(1000, 2)
    sides = {
        "training": pd.concat([training, holdout.head(100).assign(id=lambda frame: frame["id"] + 10**9)]),
        "holdout": holdout,
    }
    for name, rows in sides.items():
        values = {
            "export": [name] * len(rows),
            "row number": list(range(len(rows))),
            "row number as text": [f"{number:08d}" for number in range(len(rows))],
            "identifier": [f"{name}-{number}" for number in range(len(rows))],
        }
        sides[name] = rows.assign(extra=values[column])
    found = find_overlap(as_rows(sides["holdout"]), as_rows(sides["training"]))
    assert found.has_copies
    assert "100 by features (without 'extra') and label" in found.describe()


def test_a_column_without_which_a_few_honest_rows_are_equal_is_no_reason_to_warn() -> None:
    generator = np.random.default_rng(3)
    sides = [make_categories(rows, seed).assign(c=generator.integers(0, 60, rows)) for rows, seed in ((700, 1), (900, 2))]
    sides = [rows.assign(key=[f"{seed}-{row}" for row in range(len(rows))]) for seed, rows in enumerate(sides)]
    found = find_overlap(as_rows(sides[0]), as_rows(sides[1]))
    assert not found.refused, found.describe()
    assert not found.has_repeated_rows, found.describe()


@pytest.mark.parametrize("make", [make_numbers, make_categories, make_long_tail])
def test_a_column_of_the_file_makes_honest_rows_no_overlap(make: Callable[[int, int], pd.DataFrame]) -> None:
    for seed in range(5):
        sides = [make(rows, 500 + 2 * seed + place).assign(extra=place) for place, rows in enumerate((2000, 6000))]
        found = find_overlap(*(as_rows(rows.assign(number=range(len(rows)))) for rows in sides))
        assert not found.refused, found.describe()
        assert not found.has_repeated_rows, found.describe()


@pytest.mark.parametrize(
    "others",
    [[3, 4, 99], [3.0, 4.0, 99.0], ["3", "4", "99"], [3, "4", "x"], pd.array([3, 4, 99], dtype="UInt16").tolist()],
)
def test_a_whole_number_is_the_same_id_in_any_type(others: list[object]) -> None:
    theirs = np.empty(len(others), dtype=object)
    theirs[:] = others
    ours = np.array([1, 2, 3, 4], dtype=object)
    assert find_shared_ids(ours, theirs).tolist() == [False, False, True, True]


def test_texts_that_look_like_one_number_are_different_ids() -> None:
    ours, theirs = np.array(["007", "1e5", "x"], dtype=object), np.array(["7", "100000", "y"], dtype=object)
    assert not find_shared_ids(ours, theirs).any()


def test_rows_without_a_common_feature_are_compared_by_id_only() -> None:
    holdout, training = make_numbers(100, 1), make_numbers(100, 2).rename(columns={"a": "c", "b": "d"})
    found = find_overlap(as_rows(holdout), as_rows(training))
    assert not found.refused
    assert "contents cannot be compared" in found.describe()


def test_rows_that_were_recorded_twice_before_the_split_are_noticed() -> None:
    """They are on both sides as often as chance puts them there, so nobody copied the holdout. But few contents repeat by "
    "nature."""
    rows = make_numbers(6000, 1)
    both = pd.concat([rows, rows.head(900).assign(id=lambda frame: frame["id"] + 10**9)])
    is_holdout = np.random.default_rng(2).random(len(both)) < 0.3
    found = find_overlap(as_rows(both[is_holdout]), as_rows(both[~is_holdout]))
    assert not found.refused
    assert found.has_repeated_rows
    assert found.to_dict()["repeated_rows"]


@pytest.mark.parametrize("make", [make_numbers, make_categories, make_long_tail])
def test_contents_that_repeat_by_nature_are_not_called_repeated_rows(make: Callable[[int, int], pd.DataFrame]) -> None:
    assert not find_overlap(as_rows(make(2000, 1)), as_rows(make(6000, 2))).has_repeated_rows


def test_columns_may_have_numbers_as_names_but_not_one_name_twice() -> None:
    holdout, training = (make_numbers(200, seed).rename(columns={"a": 0, "b": 1}) for seed in (1, 2))
    copies = holdout.assign(id=range(200))
    assert find_overlap(as_rows(holdout), as_rows(pd.concat([training, copies]))).has_copies
    twice = training.rename(columns={1: 0})
    with pytest.raises(DataError, match="two feature columns have the name '0'"):
        find_overlap(as_rows(holdout), as_rows(twice))
