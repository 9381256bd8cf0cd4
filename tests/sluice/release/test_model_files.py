"""A model is unpickled only from bytes with the expected digest, and only by one function of the whole code base."""

from __future__ import annotations

import ast
import hashlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from sluice.errors import DataError, IntegrityError
from sluice.release.model_layer import layer_digest
from sluice.release.models.model_files import load_model, read_model, read_released_digest, unpickle_model

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
CHECKED = ("churn", "components", "pipelines", "serving", "sluice")

ALLOWED = {
    ("sluice/release/models/model_files.py", "joblib.load"): "the one place; it verifies the bytes",
    ("sluice/steps/before_training/requirements.py", "pickle.Unpickler"): "it reads what the same process has just stored",
}

UNPICKLING = frozenset({"load", "loads", "load_compatibility", "Unpickler", "open", "DbfilenameShelf", "read_pickle"})
MODULES = frozenset({"_pickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "skops.io", "torch"})


def find_unpickling(source: str) -> Iterator[str]:
    """Yield each place of a source that may unpickle a file, as ``module.name``."""
    tree = ast.parse(source)
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {name.asname or name.name: name.name for name in node.names if name.name in MODULES}
        if isinstance(node, ast.ImportFrom) and node.module in MODULES | {"pandas", "joblib.numpy_pickle"}:
            yield from (f"{node.module}.{name.name}" for name in node.names if name.name in UNPICKLING | {"*"})
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in UNPICKLING and ast.unparse(node.value) in modules:
            yield f"{modules[ast.unparse(node.value)]}.{node.attr}"
        if isinstance(node, ast.Attribute) and node.attr == "read_pickle":
            yield "pandas.read_pickle"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield "numpy.load"


def test_one_function_unpickles_models() -> None:
    files = [path for folder in CHECKED for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 300, "the search looks into the wrong folders"
    sources = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}
    # Parsing all files takes seconds, so only those are parsed that contain one of the names at all.
    words = (*MODULES, "pickle")
    found = {
        (name, what) for name, text in sources.items() if any(word in text for word in words) for what in find_unpickling(text)
    }
    assert found == ALLOWED.keys(), (
        "Load a model with sluice.release.models.model_files, which verifies its digest first: "
        f"{sorted(found - ALLOWED.keys())} are new, {sorted(ALLOWED.keys() - found)} are gone"
    )


@pytest.mark.parametrize(
    "source",
    [
        "import joblib\njoblib.load('x')",
        "import joblib as j\ndef f():\n    return map(j.load, [])",
        "from joblib import load",
        "from joblib import load as read",
        "from pickle import *",
        "def f():\n    import pickle\n    pickle.loads(b'')",
        "import pickle\nclass A(pickle.Unpickler): ...",
        "import pandas as pd\npd.read_pickle('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import shelve\nshelve.open('x')",
    ],
)
def test_the_search_finds_each_way_to_unpickle(source: str) -> None:
    assert list(find_unpickling(source))


def test_the_search_allows_storing_and_arrays() -> None:
    stores = "import joblib, json\njoblib.dump(1, 'x')\njson.load(f)\n"
    assert not list(find_unpickling(stores + "import numpy as np\nnp.load('x', allow_pickle=False)\nnp.load('x')"))


class Trap:
    """Records that it was unpickled."""

    sprung: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _spring, ("loaded",)


def _spring(text: str) -> str:
    Trap.sprung.append(text)
    return text


def digest_of(stored: bytes) -> str:
    return "sha256:" + hashlib.sha256(stored).hexdigest()


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    Trap.sprung.clear()
    (tmp_path / "trap.joblib").write_bytes(pickle.dumps(Trap()))
    return tmp_path / "trap.joblib"


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:" + "0" * 64, digest_of(b"other")])
def test_nothing_is_unpickled_under_another_digest(trap: Path, digest: str) -> None:
    for attempt in (lambda: load_model(trap, digest), lambda: unpickle_model(trap.read_bytes(), digest)):
        with pytest.raises(IntegrityError, match="has digest"):
            attempt()
    assert not Trap.sprung
    assert load_model(trap, digest_of(trap.read_bytes())) == "loaded"


def test_the_bytes_that_were_verified_are_used_if_the_file_changes_meanwhile(trap: Path) -> None:
    honest, evil = pickle.dumps("an honest model"), trap.read_bytes()
    trap.write_bytes(honest)
    stored = read_model(trap, digest_of(honest))
    trap.write_bytes(evil)
    assert unpickle_model(stored, digest_of(honest)) == "an honest model"
    assert not Trap.sprung


@pytest.mark.parametrize("stored", [b"", b"junk", b"not a pickle at all", b"\x80\x04cno_such_module_anywhere\nThing\n."])
def test_a_model_that_cannot_be_read_is_an_error_of_its_file(tmp_path: Path, stored: bytes) -> None:
    broken = tmp_path / "broken.joblib"
    broken.write_bytes(stored)
    with pytest.raises(DataError, match=r"the model broken\.joblib cannot be loaded"):
        load_model(broken, digest_of(stored))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.joblib cannot be read: No such file"):
        load_model(tmp_path / "gone.joblib", digest_of(b""))


def test_the_digest_of_a_released_model_comes_from_the_verified_manifest(layer_copy: Path) -> None:
    release = layer_digest(layer_copy)
    assert read_released_digest(layer_copy, release) == digest_of((layer_copy / "model.joblib").read_bytes())
    manifest = layer_copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"model"', '"mode1"'))
    with pytest.raises(IntegrityError, match="is expected"):
        read_released_digest(layer_copy, release)
    with pytest.raises(IntegrityError, match="names no model"):
        read_released_digest(layer_copy, layer_digest(layer_copy))
