"""A folder of Parquet files is one snapshot: its names and bytes are its digest, and everything else in it is refused."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import fsspec
import pandas as pd
import pytest

from sluice.data.folders import digest_folder, list_parts
from sluice.data.holdout import pin_holdout
from sluice.data.snapshots import check_readable, digest_data, pin_snapshot
from sluice.errors import DataError
from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder with two partitions, a marker and a checksum, as Spark writes them."""
    folder = tmp_path / "customers"
    for day in (1, 2):
        (folder / f"dt={day}").mkdir(parents=True)
        pd.DataFrame({"key": [day * 10, day * 10 + 1], "spend": [0.5, day]}).to_parquet(folder / f"dt={day}" / "part-0.parquet")
    (folder / "_SUCCESS").touch()
    (folder / "dt=1" / ".part-0.parquet.crc").write_bytes(b"x")
    return folder


def copied(folder: Path, to: Path) -> Path:
    return shutil.copytree(folder, to)


def test_the_pinned_folder_has_the_data_files_and_is_read_like_the_source(parts: Path, tmp_path: Path) -> None:
    snapshot = pin_snapshot(str(parts), tmp_path / ".sluice" / "pinned")
    assert snapshot.path.name == f"{snapshot.digest.removeprefix('sha256:')}.parquet"
    assert list_parts(snapshot.path) == ["dt=1/part-0.parquet", "dt=2/part-0.parquet"]
    assert sorted(path.name for path in snapshot.path.rglob("*") if path.is_file()) == ["part-0.parquet"] * 2
    pd.testing.assert_frame_equal(pd.read_parquet(snapshot.path), pd.read_parquet(parts))
    assert list(pd.read_parquet(snapshot.path)["key"]) == [10, 11, 20, 21]
    check_readable(snapshot)


def test_names_and_bytes_of_data_files_are_the_digest_and_nothing_else_is(parts: Path, tmp_path: Path) -> None:
    first = digest_folder(parts)
    same = copied(parts, tmp_path / "same")
    (same / "_SUCCESS").write_text("other")
    assert digest_data(same) == first
    renamed = copied(parts, tmp_path / "renamed")
    (renamed / "dt=2").rename(renamed / "dt=3")
    changed = copied(parts, tmp_path / "changed")
    (changed / "dt=2" / "part-0.parquet").write_bytes((parts / "dt=1" / "part-0.parquet").read_bytes())
    fewer = copied(parts, tmp_path / "fewer")
    shutil.rmtree(fewer / "dt=2")
    assert len({first, *(digest_folder(folder) for folder in (renamed, changed, fewer))}) == 4


def test_pinning_again_changes_nothing_and_a_damaged_copy_is_replaced(parts: Path, tmp_path: Path) -> None:
    first = pin_snapshot(str(parts), tmp_path / "pinned")
    before = first.path.stat().st_ino
    assert pin_snapshot(str(parts), tmp_path / "pinned") == first
    assert first.path.stat().st_ino == before
    (first.path / "dt=1" / "part-0.parquet").unlink()
    assert pin_snapshot(str(parts), tmp_path / "pinned") == first
    assert digest_data(first.path) == first.digest
    assert [entry.name for entry in (tmp_path / "pinned").iterdir()] == [first.path.name], "no draft is left"


def test_the_url_of_a_folder_gives_the_same_digest(parts: Path, tmp_path: Path) -> None:
    for file in parts.rglob("*"):
        if file.is_file():
            with fsspec.open(f"memory://folders/customers/{file.relative_to(parts)}", "wb") as target:
                target.write(file.read_bytes())
    found = pin_snapshot("memory://folders/customers/", tmp_path / "pinned")
    assert found.digest == digest_folder(parts)
    check_readable(found)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.txt", r"customers is a folder, and its file notes\.txt is not Parquet"),
        ("dt=1/rows.csv", r"customers is a folder, and its file dt=1/rows\.csv is not Parquet"),
    ],
)
def test_a_folder_with_other_files_is_refused(parts: Path, tmp_path: Path, name: str, message: str) -> None:
    (parts / name).write_text("x")
    with pytest.raises(DataError, match=message) as refused:
        pin_snapshot(str(parts), tmp_path / "pinned")
    assert "nothing else" in refused.value.hint
    assert not (tmp_path / "pinned").exists()


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty is a folder without a Parquet file"):
        pin_snapshot(str(tmp_path / "empty"), tmp_path / "pinned")
    with pytest.raises(DataError, match=r"memory://folders/nothing/ (is a folder without a Parquet file|: File)"):
        pin_snapshot("memory://folders/nothing/", tmp_path / "pinned")


def test_a_broken_file_of_a_folder_is_named(parts: Path, tmp_path: Path) -> None:
    (parts / "dt=2" / "part-0.parquet").write_bytes(b"PAR1")
    snapshot = pin_snapshot(str(parts), tmp_path / "pinned")
    with pytest.raises(DataError, match=r"customers/dt=2/part-0\.parquet is not a readable Parquet file"):
        check_readable(snapshot)


def test_a_holdout_is_one_file_and_no_folder(depot: Project, parts: Path) -> None:
    file = depot.root / "sluice.toml"
    file.write_text(file.read_text().replace('holdout = "holdout.csv"', f'holdout = "{parts}"'))
    with pytest.raises(DataError, match="customers is a folder, but one file is needed"):
        pin_holdout(read_project(depot.root))
