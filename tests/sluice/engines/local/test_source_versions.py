"""A run counts as unchanged only if somebody can say that the data behind a URL has not changed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from sluice.engines.local.runs import inputs_digest
from sluice.engines.local.source_versions import find_version, read_version
from sluice.project.projects import Project, read_project

if TYPE_CHECKING:
    from collections.abc import Iterator


class ObjectStore(MemoryFileSystem):  # type: ignore[misc]
    """A store that names the version of each object, as S3 does."""

    protocol: ClassVar[str] = "versioned"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.replace("versioned://", "memory://")))

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().info(path, **options)
        return found | self._name_version(path)

    def find(self, path: str, **options: Any) -> Any:
        found = super().find(path, **options)
        return {name: one | self._name_version(name) for name, one in found.items()} if options.get("detail") else found

    def _name_version(self, path: str) -> dict[str, str]:
        stored = self.store.get(self._strip_protocol(path))
        return {"ETag": hashlib.md5(stored.getvalue(), usedforsecurity=False).hexdigest()} if stored else {}


@pytest.fixture(autouse=True)
def store() -> Iterator[ObjectStore]:
    fsspec.register_implementation("versioned", ObjectStore, clobber=True)
    ObjectStore.store.clear()
    ObjectStore.pseudo_dirs[:] = [""]
    yield ObjectStore()
    MemoryFileSystem.store.clear()


def point_to(project: Project, location: str) -> Project:
    """Return the project with its snapshot at a location."""
    file = project.root / "sluice.toml"
    file.write_text(file.read_text().replace('"rows.csv"', f'"{location}"'))
    return read_project(project.root)


def test_new_bytes_behind_the_same_url_are_other_inputs(small_project: Project, store: ObjectStore) -> None:
    store.pipe("/bucket/rows.csv", b"id,y\n1,0\n")
    project = point_to(small_project, "versioned://bucket/rows.csv")
    first = inputs_digest(project, "good", {"snapshot": ""})
    assert inputs_digest(project, "good", {"snapshot": ""}) == first
    store.pipe("/bucket/rows.csv", b"id,y\n1,1\n")  # as long as before
    assert inputs_digest(project, "good", {"snapshot": ""}) != first


def test_a_new_part_of_a_folder_behind_a_url_is_another_version(store: ObjectStore) -> None:
    store.pipe("/bucket/day/a.parquet", b"a")
    first = read_version("versioned://bucket/day/")
    assert first is not None
    assert read_version("versioned://bucket/day/") == first
    store.pipe("/bucket/day/b.parquet", b"b")
    assert read_version("versioned://bucket/day/") not in {first, None}


def test_data_of_an_unknown_version_never_counts_as_unchanged(small_project: Project) -> None:
    fsspec.filesystem("memory").pipe("/rows.csv", b"id,y\n1,0\n")
    for location in ("memory://rows.csv", "memory://gone.csv", "no-such-protocol://rows.csv", "zip://a.csv::versioned://b.zip"):
        assert read_version(location) is None, location
    project = point_to(small_project, "memory://rows.csv")
    assert inputs_digest(project, "good", {"snapshot": ""}) != inputs_digest(project, "good", {"snapshot": ""})


def test_a_file_url_and_a_path_have_the_version_of_their_bytes(small_project: Project) -> None:
    file = small_project.root / "rows.csv"
    expected = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert read_version(f"file://{file}") == read_version(str(file)) == expected
    assert read_version(str(small_project.root / "gone.csv")) is None


@pytest.mark.parametrize(
    ("found", "known"),
    [
        ({"ETag": '"5d41"'}, True),
        ({"etag": "CJD9"}, True),
        ({"generation": 17, "md5Hash": "x"}, True),
        ({"content_md5": bytearray(b"x")}, True),
        ({"ETag": 'W/"5d41"', "mtime": 3}, False),
        ({"ETag": None, "VersionId": "null"}, False),
        ({"LastModified": "today", "created": 1}, False),
    ],
)
def test_only_a_version_of_the_store_identifies_an_object(found: dict[str, Any], known: bool) -> None:
    assert bool(find_version({"name": "a", "size": 9} | found)) is known
