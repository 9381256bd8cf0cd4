"""The imports of a project's own code, found without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluice.release.model_libraries.imports import find_external_imports

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import lightgbm", {"lightgbm"}),
        ("import lightgbm.sklearn as light", {"lightgbm"}),
        ("from lightgbm.sklearn import LGBMClassifier", {"lightgbm"}),
        ("def build():\n    import lightgbm", {"lightgbm"}),
        ("try:\n    import lightgbm\nexcept ImportError:\n    import xgboost", {"lightgbm", "xgboost"}),
        ("if TYPE_CHECKING:\n    import lightgbm\nelse:\n    import xgboost", {"xgboost"}),
        ("class A:\n    def fit(self):\n        if self:\n            import lightgbm", {"lightgbm"}),
        ("import lightgbm (", set()),
        ("from ... import above", set()),
        ("", set()),
    ],
)
def test_each_form_of_an_import_is_found(tmp_path: Path, text: str, found: set[str]) -> None:
    write(tmp_path, {"fraud/__init__.py": "", "fraud/model.py": text})
    assert find_external_imports(tmp_path, "fraud.model") == found


def test_the_modules_of_the_project_below_the_model_count_and_no_others(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "fraud/__init__.py": "import in_package",
            "fraud/model.py": "from fraud.features import scale\nfrom . import trees, LIMIT\nfrom shared.columns import NAMES",
            "fraud/features.py": "import in_features",
            "fraud/trees/__init__.py": "from .forest import grow",
            "fraud/trees/forest.py": "import in_forest\nfrom ..model import build",
            "fraud/client.py": "import requests",
            "shared/columns.py": "import in_shared",
        },
    )
    assert find_external_imports(tmp_path, "fraud.model") == {"in_package", "in_features", "in_forest", "in_shared"}


def test_a_module_outside_the_project_is_itself_external(tmp_path: Path) -> None:
    assert find_external_imports(tmp_path, "lightgbm.sklearn") == {"lightgbm"}
