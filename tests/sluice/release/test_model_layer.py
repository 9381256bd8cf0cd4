from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sluice.errors import IntegrityError
from sluice.release.model_layer import LAYER_ROOT, extract_layer, layer_digest, verify_folder, write_layer

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).parents[3]

names = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="/\0"), min_size=1, max_size=40).filter(
    lambda name: name not in {".", "..", "__pycache__"} and not name.startswith(".wh.") and len(name.encode()) < 200
)
trees = st.dictionaries(st.tuples(names, names), st.binary(max_size=2000), min_size=1, max_size=6)


def write_tree(folder: Path, files: Mapping[tuple[str, ...], bytes]) -> Path:
    for parts, data in files.items():
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tree(
        tmp_path / "layer", {("model.joblib",): b"\x80model", ("code", "shop", "a.py"): b"x = 1\n", ("code", "shop", "b.py"): b""}
    )


def test_the_digest_is_that_of_the_written_tar(folder: Path, tmp_path: Path) -> None:
    digest = write_layer(folder, tmp_path / "layer.tar")
    assert digest == layer_digest(folder) == "sha256:" + hashlib.sha256((tmp_path / "layer.tar").read_bytes()).hexdigest()


def test_the_digest_is_the_same_on_every_machine(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "layer", {("a",): b"1", ("b", "c"): b"2"})
    assert layer_digest(folder) == "sha256:bf96220d2cc105ecdaffe4605500f118dd939e00c79c91756d11039174e30b5c"


def test_the_digest_does_not_depend_on_times_modes_or_the_order_of_creation(folder: Path, tmp_path: Path) -> None:
    other = write_tree(
        tmp_path / "other", {("code", "shop", "b.py"): b"", ("code", "shop", "a.py"): b"x = 1\n", ("model.joblib",): b"\x80model"}
    )
    os.utime(other / "model.joblib", (1, 1))
    (other / "model.joblib").chmod(0o600)
    assert layer_digest(folder) == layer_digest(other)


def test_bytecode_beside_the_sources_is_not_part_of_the_layer(folder: Path) -> None:
    before = layer_digest(folder)
    (folder / "code" / "shop" / "__pycache__").mkdir()
    (folder / "code" / "shop" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"\0")
    assert layer_digest(folder) == before


@given(trees)
def test_unpacked_files_are_equal_to_the_packed_ones(files: dict[tuple[str, str], bytes]) -> None:
    assume(not {parts[0] for parts in files} & {parts[1] for parts in files})
    with tempfile.TemporaryDirectory() as name:
        folder = write_tree(Path(name) / "layer", files)
        stream = io.BytesIO()
        digest = write_layer(folder, stream)
        stream.seek(0)
        extract_layer(stream, Path(name) / "out")
        verify_folder(Path(name) / "out", digest)
        assert {parts: Path(name, "out", *parts).read_bytes() for parts in files} == files


@given(st.integers(0), st.integers(1, 255))
def test_any_changed_byte_changes_the_digest(place: int, change: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        data = bytearray(range(256))
        folder = write_tree(Path(name), {("model.joblib",): bytes(data)})
        before = layer_digest(folder)
        data[place % 256] ^= change
        (folder / "model.joblib").write_bytes(data)
        assert layer_digest(folder) != before
        with pytest.raises(IntegrityError, match="has the digest") as caught:
            verify_folder(folder, before)
        assert caught.value.exit_code == 4


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "emptied folder"])
def test_other_files_change_the_digest(folder: Path, change: str) -> None:
    before = layer_digest(folder)
    if change == "added":
        (folder / "code" / "sitecustomize.py").write_text("")
    elif change == "removed":
        (folder / "code" / "shop" / "b.py").unlink()
    elif change == "renamed":
        (folder / "code" / "shop" / "b.py").rename(folder / "code" / "shop" / "c.py")
    else:
        (folder / "code" / "empty").mkdir()
    with pytest.raises(IntegrityError):
        verify_folder(folder, before)


def test_links_are_refused(folder: Path) -> None:
    (folder / "code" / "link.py").symlink_to(folder / "code" / "shop" / "a.py")
    with pytest.raises(IntegrityError, match=r"link\.py is neither a file nor a folder"):
        layer_digest(folder)


def test_pipes_are_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(IntegrityError, match="pipe is neither"):
        layer_digest(folder)


def test_names_that_remove_files_in_an_image_are_refused(folder: Path) -> None:
    (folder / ".wh.model.joblib").touch()
    with pytest.raises(IntegrityError, match="removes a file in an OCI image"):
        layer_digest(folder)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="there is no model layer"):
        verify_folder(tmp_path / "nowhere", "sha256:0")


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


@pytest.mark.parametrize(
    "member",
    [
        entry("../outside"),
        entry("/etc/outside"),
        entry(f"{LAYER_ROOT}/../../../../outside"),
        entry("opt/other/outside"),
        entry(f"{LAYER_ROOT}/link", tarfile.SYMTYPE, "/etc/passwd"),
        entry(f"{LAYER_ROOT}/hard", tarfile.LNKTYPE, "model.joblib"),
        entry(f"{LAYER_ROOT}/device", tarfile.CHRTYPE),
    ],
    ids=lambda member: member.name,
)
def test_a_tar_with_links_or_outside_paths_is_not_unpacked(member: tarfile.TarInfo, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(member)
    stream.seek(0)
    with pytest.raises(IntegrityError, match="cannot be unpacked"):
        extract_layer(stream, tmp_path / "out")
    assert not list(tmp_path.rglob("outside"))


def test_bytes_that_are_not_a_tar_are_not_unpacked(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="cannot be unpacked"):
        extract_layer(io.BytesIO(b"no tar at all" * 100), tmp_path / "out")


@pytest.mark.parametrize(
    "module", ["release.fingerprint", "release.model_layer", "scoring.verified_imports", "scoring.server_launcher"]
)
def test_these_modules_need_only_the_standard_library(module: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import sluice.{module}"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
