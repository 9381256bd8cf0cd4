"""Rows from files and frames: only the wanted columns, in batches, with types that later rows may widen."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sluice.drift.batches import Batch, FrameRows, open_rows
from sluice.drift.columns import hash_texts, read_groups
from sluice.drift.comparisons import DriftOutcome, DriftRule, compare_profile
from sluice.drift.profiles import count_rows
from sluice.drift.references import freeze_reference
from sluice.drift.samples import draw_sample
from sluice.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluice.drift.batches import Rows
    from sluice.drift.comparisons import DriftResult

RULE = DriftRule(threshold=0.2, alpha=0.01, least_rows=500)
ROWS = 4_000


def make_frame(seed: int, rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
            "items": rng.integers(0, 5, rows),
            "member": rng.random(rows) < 0.4,
            "zone": np.where(rng.random(rows) < 0.1, None, rng.choice(["north", "south", "sea, far"], rows)),
            "day": pd.date_range("2026-01-01", periods=rows, freq="h").strftime("%Y-%m-%d"),
        }
    )


def open_file(path: Path) -> Rows:
    rows = open_rows(path)
    assert rows is not None
    return rows


def compare(before: Rows, now: Rows) -> DriftResult:
    reference = freeze_reference(before)
    return compare_profile(reference, count_rows(reference, now), RULE)


def write(frame: pd.DataFrame, path: Path) -> Path:
    if ".parquet" in path.suffixes:
        frame.to_parquet(path, row_group_size=700)
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in path.suffixes else ",")
    return path


@pytest.mark.parametrize("before", ["a.parquet", "a.csv", "a.csv.gz", "a.tsv"])
@pytest.mark.parametrize("now", ["b.parquet", "b.csv"])
def test_every_format_gives_the_same_counts(before: str, now: str, tmp_path: Path) -> None:
    files = open_file(write(make_frame(1), tmp_path / before)), open_file(write(make_frame(2), tmp_path / now))
    result = compare(*files)
    frames = compare(FrameRows(lambda: [make_frame(1)]), FrameRows(lambda: [make_frame(2)]))
    assert result.features == frames.features
    assert list(result.features) == ["amount", "items", "member", "zone", "day"]
    assert result.outcome is DriftOutcome.STEADY
    assert set(result.in_part) == {"day"}


def test_numbers_of_a_csv_file_may_become_fractions_or_text_after_the_first_block(tmp_path: Path) -> None:
    rows = 600_000  # more than a block of 4 MiB
    for name, last in (("fractions", "1.5"), ("texts", "many")):
        (tmp_path / f"{name}.csv").write_text("x,y\n" + "3,abcdefgh\n" * rows + f"{last},ij\n")
    reference = freeze_reference(open_file(tmp_path / "fractions.csv"))
    assert reference.rows == rows + 1
    profile = count_rows(reference, open_file(tmp_path / "fractions.csv"))
    assert profile.rows == rows + 1
    assert sum(profile.counts["x"]) == rows + 1
    mixed = count_rows(reference, open_file(tmp_path / "texts.csv"))
    assert mixed.faults == {"x": "it holds text, and the reference holds numbers"}
    assert mixed.rows == rows + 1
    # In a reference, such a column is text.
    assert freeze_reference(open_file(tmp_path / "texts.csv")).columns["x"].kind == "category"


def test_a_text_column_of_codes_keeps_its_leading_zeros(tmp_path: Path) -> None:
    zips = np.random.default_rng(1).choice(["01234", "00501", "90210"], ROWS)
    pd.DataFrame({"zip": zips}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"zip": zips}).to_csv(tmp_path / "b.csv", index=False)
    result = compare(open_file(tmp_path / "a.parquet"), open_file(tmp_path / "b.csv"))
    assert (result.outcome, result.features["zip"].estimate.new) == (DriftOutcome.STEADY, 0)


def test_a_csv_file_may_contain_quoted_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + '"one\ntwo",1\n' * 1_000)
    reference = freeze_reference(open_file(tmp_path / "a.csv"))
    assert reference.rows == 1_000
    assert reference.columns["x"].bins.categories == {"one\ntwo": 0}


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_two_columns_of_one_name_in_a_file_are_refused_and_not_read(name: str, tmp_path: Path) -> None:
    table = pa.table([[1.0] * 600, [2.0] * 600, ["u"] * 300 + ["v"] * 300], names=["x", "x", "z"])
    if name.endswith("csv"):
        (tmp_path / name).write_text("x,x,z\n" + "1,2,u\n" * 300 + "1,2,v\n" * 300)
    else:
        pq.write_table(table, tmp_path / name)
    result = compare(open_file(tmp_path / name), open_file(tmp_path / name))
    assert result.not_compared == {"x": "two columns have this name"}
    assert list(result.features) == ["z"]


def test_only_the_columns_of_the_reference_are_read(tmp_path: Path) -> None:
    write(make_frame(1), tmp_path / "a.parquet")
    rows = open_file(tmp_path / "a.parquet")
    assert {name for batch in rows.read(["items", "zone", "absent"]) for name in batch.columns} == {"items", "zone"}
    assert sum(batch.rows for batch in rows.read([])) == ROWS


def test_a_file_of_another_format_is_left_to_the_loader(tmp_path: Path) -> None:
    assert open_rows(tmp_path / "a.jsonl") is None


@pytest.mark.parametrize(("name", "content"), [("a.parquet", b"PAR1 no"), ("a.csv", b""), ("a.csv.gz", b"no gzip")])
def test_a_damaged_file_is_an_error_that_names_it(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name} is not a readable"):
        open_rows(tmp_path / name)


def test_a_csv_file_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3\n")
    with pytest.raises(DataError, match=r"a\.csv"):
        freeze_reference(open_file(tmp_path / "a.csv"))
    packed = gzip.compress(b"x,y\n" + b"1,2\n" * 3_000_000)
    (tmp_path / "b.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"b\.csv\.gz"):
        freeze_reference(open_file(tmp_path / "b.csv.gz"))


def test_frames_of_a_loader_may_arrive_in_parts_with_other_types() -> None:
    parts = [pd.DataFrame({"x": [1, 2] * 300}), pd.DataFrame({"x": [None] * 10}), pd.DataFrame({"x": [1.0, None] * 300})]
    reference = freeze_reference(FrameRows(lambda: parts))
    assert (reference.rows, reference.columns["x"].kind) == (1_210, "number")
    profile = count_rows(reference, FrameRows(lambda: iter(parts)))
    assert profile.counts["x"] == reference.columns["x"].bins.counts
    with pytest.raises(DataError, match="has no rows"):
        FrameRows(lambda: iter([]), "nothing")


def write_keys(path: Path, rows: int = 60_000) -> Path:
    """Write a text that is different in each row, in one row group whose dictionary is too large to be used."""
    keys = [f"customer {number:09d}" for number in range(rows)]
    pq.write_table(pa.table({"key": keys, "zone": ["north", "south"] * (rows // 2)}), path, row_group_size=rows)
    return path


def test_only_texts_that_repeat_are_read_with_a_dictionary(tmp_path: Path) -> None:
    rows = open_file(write_keys(tmp_path / "keys.parquet"))
    (batch,) = rows.read(["key", "zone"])
    assert pa.types.is_dictionary(batch.columns["zone"].type)
    assert not pa.types.is_dictionary(batch.columns["key"].type)


def test_the_rows_of_a_sample_do_not_keep_a_dictionary_that_they_do_not_need() -> None:
    names = pa.array([f"text {number}" for number in range(50_000)])
    codes = pa.DictionaryArray.from_arrays(pa.array(np.arange(4_000, dtype=np.int32)), names)
    (part,) = draw_sample(OneBatch({"text": codes}), ["text"], most=1_000).columns["text"]
    assert 400 <= len(part) <= 1_000
    assert len(part.dictionary) == len(part)


class OneBatch:
    """Rows that are in memory already."""

    def __init__(self, columns: dict[str, pa.Array]) -> None:
        self.columns, self.source, self.twice = columns, "memory", ()
        self.types = {name: array.type for name, array in columns.items()}

    def read(self, columns: object, **_: object) -> Iterator[Batch]:
        yield Batch(len(next(iter(self.columns.values()))), self.columns)


@pytest.mark.parametrize("rows", [0, 1, 500])
def test_the_hash_of_a_text_depends_on_all_of_its_bytes_and_on_nothing_else(rows: int) -> None:
    rng = np.random.default_rng(rows)
    texts = ["".join(rng.choice(list("abü€𝄞"), rng.integers(0, 40))) for _ in range(rows)]
    whole = hash_texts(pa.array(["before", *texts, "after"])[1 : rows + 1])
    assert whole.tolist() == [int(hash_texts(pa.array([text]))[0]) for text in texts]
    assert len(set(whole.tolist())) == len(set(texts))
    longer = hash_texts(pa.array([text + "\0" for text in texts], pa.string()))  # a byte of zeros is a byte, too
    assert not set(longer.tolist()) & set(whole.tolist())


def test_the_groups_of_texts_are_equally_large_and_missing_texts_have_none() -> None:
    texts = [f"customer {number}" for number in range(20_000)]
    groups = read_groups(pa.array([*texts, None]))
    assert np.isnan(groups[-1])
    shares = np.bincount(groups[:-1].astype(int), minlength=10) / len(texts)
    assert shares.min() > 0.09
    assert shares.max() < 0.11
    assert read_groups(pa.array(texts).dictionary_encode()).tolist() == groups[:-1].tolist()


def test_text_that_is_not_utf8_is_named_as_the_reason(tmp_path: Path) -> None:
    good = write_table(tmp_path / "good.parquet", [b"a", b"b"])
    bad = write_table(tmp_path / "bad.parquet", [b"a", b"\xff\xfe"])
    reference = freeze_reference(open_file(good))
    profile = count_rows(reference, open_file(bad))
    assert profile.faults == {"text": "it holds text that is not valid UTF-8"}
    assert freeze_reference(open_file(bad)).refused == {"text": "it holds text that is not valid UTF-8"}


def write_table(path: Path, texts: list[bytes]) -> Path:
    values = pa.array(texts * 500, pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": values, "number": np.arange(1_000)}), path)
    return path


def test_a_file_without_any_column_of_the_reference_names_its_columns(tmp_path: Path) -> None:
    reference = freeze_reference(FrameRows(lambda: [make_frame(1)]))
    path = tmp_path / "semicolons.csv"
    make_frame(2).drop(columns="zone").to_csv(path, index=False, sep=";")
    rows = open_file(path)
    with pytest.raises(DataError, match="has no column of the reference; its columns are amount;items;member;day") as refused:
        compare_profile(reference, count_rows(reference, rows), RULE)
    assert "the separator" in refused.value.hint


def test_the_rows_of_the_reference_in_another_file_say_nothing(tmp_path: Path) -> None:
    frame = make_frame(1)
    frame.to_parquet(tmp_path / "one.parquet")
    frame.sample(frac=1, random_state=1).to_csv(tmp_path / "two.csv", index=False)
    result = compare(open_file(tmp_path / "one.parquet"), open_file(tmp_path / "two.csv"))
    assert result.outcome is DriftOutcome.INCONCLUSIVE
    assert "seem to be the rows of the reference in another file" in result.detail
    assert compare(FrameRows(lambda: [frame]), FrameRows(lambda: [make_frame(2)])).outcome is DriftOutcome.STEADY
