"""A healthy project with a champion, which each fault changes in a copy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from pipeline_under_test import World, make_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _restored_imports() -> Iterator[None]:
    """Forget modules and paths of the temporary projects."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in {"sorted_rows", "reading_rule"}:
            del sys.modules[name]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The healthy project. A test works on a copy."""
    root = tmp_path_factory.mktemp("base") / "project"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLUICE_ROOT", str(root))
        return make_world(root, seed=1)


@pytest.fixture
def open_copy(base: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], World]:
    """Return a function that copies the healthy project and lets the steps work on the copy."""

    def copy() -> World:
        monkeypatch.setenv("SLUICE_ROOT", str(tmp_path / "project"))
        return base.copy(tmp_path / "project")

    return copy
