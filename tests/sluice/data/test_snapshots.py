"""A snapshot keeps its source's bytes. It is pinned completely or not at all, and never twice."""

from __future__ import annotations

import hashlib
import os
import zipfile
from typing import TYPE_CHECKING, Self

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.data.snapshots import digest_file, pin_for_reading, pin_snapshot, snapshot_suffix
from sluice.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.binary(max_size=300))
def test_a_snapshot_has_the_bytes_of_its_source_and_their_digest_as_its_name(tmp_path: Path, stored: bytes) -> None:
    source = tmp_path / "a.parquet"
    source.write_bytes(stored)
    snapshot = pin_snapshot(str(source), tmp_path / "pinned")
    digits = hashlib.sha256(stored).hexdigest()
    assert snapshot.digest == f"sha256:{digits}" == digest_file(source)
    assert snapshot.path == tmp_path / "pinned" / f"{digits}.parquet"
    assert snapshot.path.read_bytes() == stored
    assert snapshot.source == str(source)


def test_pinning_again_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x" * (3 << 20))
    first = pin_snapshot(str(tmp_path / "a.csv"), tmp_path / "pinned")
    before = first.path.stat()
    assert pin_snapshot(str(tmp_path / "a.csv"), tmp_path / "pinned") == first
    after = first.path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert len(files(tmp_path / "pinned")) == 1


def test_a_damaged_pinned_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    pinned = pin_snapshot(str(tmp_path / "a.csv"), tmp_path / "pinned").path
    pinned.chmod(0o644)
    pinned.write_text("a,b\n1,3\n")
    pin_snapshot(str(tmp_path / "a.csv"), tmp_path / "pinned")
    assert pinned.read_text() == "a,b\n1,2\n"


def test_urls_are_pinned_without_a_change_of_bytes(tmp_path: Path) -> None:
    with fsspec.open("memory://bucket/a.csv", "wb") as target:
        target.write(b"a\n1\n")
    snapshot = pin_snapshot("memory://bucket/a.csv", tmp_path / "pinned")
    assert snapshot.path.read_bytes() == b"a\n1\n"
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("inner.csv", "a\n1\n")
    inner = pin_snapshot(f"zip://inner.csv::{tmp_path / 'b.zip'}", tmp_path / "pinned")
    assert inner.path == snapshot.path
    assert files(tmp_path / "pinned") == [snapshot.path.name]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("gone.csv", "there is no file"),
        ("", "is a folder without a Parquet file"),
        ("memory://bucket/gone.csv", "cannot read memory://bucket/gone.csv: FileNotFoundError"),
        ("nosuchprotocol://bucket/a.csv", "Protocol not known: nosuchprotocol"),
    ],
)
def test_a_missing_source_is_an_error_that_names_it_and_nothing_is_written(tmp_path: Path, location: str, message: str) -> None:
    place = location if "://" in location else str(tmp_path / location)
    with pytest.raises(DataError, match=message) as caught:
        pin_snapshot(place, tmp_path / "pinned")
    assert caught.value.hint
    assert files(tmp_path / "pinned") == []


def test_a_source_that_fails_half_way_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaking:
        """A stream that returns one chunk and then raises an error."""

        def __init__(self, error: BaseException) -> None:
            self.pieces: list[bytes | BaseException] = [b"a,b\n", error]

        def read(self, _: int) -> bytes:
            piece = self.pieces.pop(0)
            if isinstance(piece, BaseException):
                raise piece
            return piece

        def open(self) -> Self:
            return self

        def close(self) -> None: ...

    for error, expected in ((ConnectionResetError("reset"), DataError), (KeyboardInterrupt(), KeyboardInterrupt)):
        monkeypatch.setattr(fsspec, "open", lambda *_, error=error: Breaking(error))
        with pytest.raises(expected):
            pin_snapshot("s3://bucket/a.csv", tmp_path / "pinned")
        assert files(tmp_path / "pinned") == []


def test_a_folder_that_cannot_be_written_is_an_error_but_reading_uses_a_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write a snapshot to"):
        pin_snapshot(str(tmp_path / "a.csv"), tmp_path / "file" / "pinned")
    scratch = pin_for_reading(str(tmp_path / "a.csv"), tmp_path / "file" / "pinned")
    assert scratch.path.read_text() == "a\n"
    assert tmp_path not in scratch.path.parents


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_a_file_without_read_permission_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch(mode=0o000)
    with pytest.raises(DataError, match="PermissionError"):
        digest_file(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("location", "suffix"),
    [
        ("a/b.c/customers.parquet", ".parquet"),
        ("customers.2024.csv.gz", ".csv.gz"),
        ("customers.gz", ".gz"),
        ("customers", ""),
        ("s3://bucket/a.csv?versionId=1.2", ".csv"),
        ("zip://inner.csv::https://host/b.zip", ".csv"),
    ],
)
def test_a_snapshot_keeps_the_suffix_of_its_source(location: str, suffix: str) -> None:
    assert snapshot_suffix(location) == suffix
