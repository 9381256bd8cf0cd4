"""A layer whose author is not trusted is read once, with little memory, and nothing of it is loaded."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from sluice.data.snapshots import digest_file
from sluice.errors import IntegrityError
from sluice.release.model_layer import LAYER_ROOT, MANIFEST_FILE, MODEL_FILE, read_layer_contents, write_layer

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = b'{"project": "p"}'


def make_tar(*members: tuple[str, bytes], pax: dict[str, str] | None = None, end: bytes = b"") -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members:
            entry = tarfile.TarInfo(f"{LAYER_ROOT}/{name}")
            entry.size, entry.pax_headers = len(data), pax or {}
            archive.addfile(entry, io.BytesIO(data))
    buffer.write(end)
    buffer.seek(0)
    return buffer


def test_a_packaged_layer_has_the_digests_of_its_bytes(layer: Path, tmp_path: Path) -> None:
    digest = write_layer(layer, tmp_path / "layer.tar")
    with (tmp_path / "layer.tar").open("rb") as source:
        found = read_layer_contents(source)
    assert (found.digest, found.model) == (digest, digest_file(layer / MODEL_FILE))
    assert found.manifest == json.loads((layer / MANIFEST_FILE).read_text())


def test_the_digest_covers_what_follows_the_archive() -> None:
    members = ((MODEL_FILE, b"model"), (MANIFEST_FILE, MANIFEST))
    plain, longer = (read_layer_contents(make_tar(*members, end=end)).digest for end in (b"", b"more"))
    assert plain != longer


@pytest.mark.parametrize(
    "members",
    [
        (),
        ((MODEL_FILE, b"model"),),
        ((MANIFEST_FILE, MANIFEST),),
        ((MODEL_FILE, b"model"), (MANIFEST_FILE, b"[]")),
        ((MODEL_FILE, b"model"), (MANIFEST_FILE, b"[" * 100_000)),
        ((MODEL_FILE, b"model"), (MANIFEST_FILE, MANIFEST), (MODEL_FILE, b"another model")),
        ((MODEL_FILE, b"model"), (MANIFEST_FILE, MANIFEST), (MANIFEST_FILE, MANIFEST)),
        ((MODEL_FILE, b"model"), (MANIFEST_FILE, b'"' + b"x" * (5 << 20) + b'"')),
    ],
)
def test_what_is_no_layer_or_contains_something_twice_is_refused(members: tuple[tuple[str, bytes], ...]) -> None:
    with pytest.raises(IntegrityError, match="the model layer cannot be unpacked"):
        read_layer_contents(make_tar(*members))


@pytest.mark.parametrize("data", [b"", b"no tar" * 1000, b"\x1f\x8b" + bytes(5000)])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="cannot be unpacked"):
        read_layer_contents(io.BytesIO(data))


@pytest.mark.parametrize(
    "pax", [{"comment": "x" * (64 << 20)}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "n"}]
)
def test_a_layer_cannot_fill_the_memory_of_its_reader(pax: dict[str, str]) -> None:
    lines = b"4194304\n" + b"1\n" * (4 << 20)
    source = make_tar((MODEL_FILE, lines), (MANIFEST_FILE, MANIFEST), pax=pax)
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="cannot be unpacked"):
            read_layer_contents(source)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_large_model_passes_through_a_small_memory() -> None:
    source = make_tar((MODEL_FILE, bytes(64 << 20)), (MANIFEST_FILE, MANIFEST))
    tracemalloc.start()
    try:
        assert read_layer_contents(source).manifest == {"project": "p"}
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
