"""From changed files to test files."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from tools.affected_tests import FEW, mirrored_tests, module_name, read_test_imports, select_tests

IMPORTS = {
    "sluice.errors": set(),
    "sluice.rollout": set(),
    "sluice.rollout.plan": {"sluice.errors"},
    "sluice.rollout.round": {"sluice.rollout.plan"},
    "sluice.report.html": set(),
    "churn.model": set(),
}
TEXTS = {
    "tests/sluice/conftest.py": "import pytest",
    "tests/sluice/test_errors.py": "from sluice.errors import SluiceError",
    "tests/sluice/rollout/backends.py": "from sluice.rollout import plan",
    "tests/sluice/rollout/conftest.py": "",
    "tests/sluice/rollout/test_plan.py": "",
    "tests/sluice/rollout/test_round.py": "import sluice.rollout.round",
    "tests/sluice/rollout/test_histories.py": "import sluice.errors\nfrom sluice.rollout.plan import decide",
    "tests/sluice/rollout/test_steps.py": "def test():\n    from sluice.rollout import plan",
    "tests/sluice/rollout/test_servers.py": "from backends import Backends",
    "tests/sluice/rollout/test_clocks.py": "import time",
    "tests/sluice/report/test_html.py": "import sluice.report.html",
    "tests/sluice/report/test_pages.py": "import sluice.rollout.plan",
    "tests/sluice/manifests/test_overlays.py": "import yaml",
    "tests/churn/test_story.py": "import churn.model",
}
TEST_IMPORTS = read_test_imports({PurePosixPath(name): text for name, text in TEXTS.items()}, IMPORTS)


def chosen(*changed: str, most: int = 100) -> list[str]:
    return [str(file) for file in select_tests([PurePosixPath(name) for name in changed], IMPORTS, TEST_IMPORTS, most).chosen]


def test_the_namesake_comes_first_then_direct_importers_then_users_of_helpers_then_importers_of_importers() -> None:
    assert chosen("sluice/rollout/plan.py") == [
        "tests/sluice/rollout/test_plan.py",
        "tests/sluice/rollout/test_steps.py",
        "tests/sluice/rollout/test_histories.py",
        "tests/sluice/report/test_pages.py",
        "tests/sluice/rollout/test_servers.py",
        "tests/sluice/rollout/test_round.py",
    ]


def test_a_small_mirrored_folder_is_chosen_as_a_whole_and_a_large_one_is_not() -> None:
    in_rollout = [file for file in TEST_IMPORTS if file.parent.name == "rollout" and file.name.startswith("test_")]
    assert len(in_rollout) > FEW
    assert "tests/sluice/rollout/test_clocks.py" not in chosen("sluice/rollout/plan.py")
    assert chosen("sluice/report/html.py")[-1] == "tests/sluice/report/test_pages.py"


def test_a_changed_test_is_chosen_first_and_always() -> None:
    changed = ["sluice/rollout/plan.py", "tests/sluice/report/test_html.py", "tests/churn/test_story.py"]
    assert chosen(*changed, most=1) == ["tests/churn/test_story.py", "tests/sluice/report/test_html.py"]


def test_files_beyond_the_largest_number_are_named_as_left_out() -> None:
    selection = select_tests([PurePosixPath("sluice/rollout/plan.py")], IMPORTS, TEST_IMPORTS, 2)
    assert [file.name for file in selection.chosen] == ["test_plan.py", "test_steps.py"]
    assert len(selection.left_out) == 4


def test_a_changed_helper_chooses_the_tests_that_import_it() -> None:
    assert chosen("tests/sluice/rollout/backends.py") == ["tests/sluice/rollout/test_servers.py"]


def test_a_changed_conftest_chooses_the_tests_below_it() -> None:
    assert len(chosen("tests/sluice/rollout/conftest.py")) == 6
    assert "tests/churn/test_story.py" not in chosen("tests/sluice/conftest.py")


def test_a_changed_template_chooses_the_mirrored_folder_of_the_nearest_package() -> None:
    assert chosen("sluice/report/templates/page.html.j2") == [
        "tests/sluice/report/test_html.py",
        "tests/sluice/report/test_pages.py",
    ]


def test_a_new_folder_without_tests_falls_back_to_the_nearest_mirror_above() -> None:
    assert mirrored_tests(PurePosixPath("sluice/report/charts/bars/axes.py"), list(TEST_IMPORTS))[0].parent.name == "report"


def test_a_changed_package_chooses_the_tests_that_import_names_from_it() -> None:
    texts = {
        PurePosixPath(
            "tests/sluice/test_all.py"
        ): "from sluice.rollout import VERSION\nfrom sluice.rollout.plan import plan_round"
    }
    assert read_test_imports(texts, IMPORTS) == {
        PurePosixPath("tests/sluice/test_all.py"): {"sluice.rollout", "sluice.rollout.plan"}
    }


def test_the_example_and_the_manifests_have_their_tests_too() -> None:
    assert chosen("churn/model.py") == ["tests/churn/test_story.py"]
    assert chosen("manifests/overlays/argo/kustomization.yaml") == ["tests/sluice/manifests/test_overlays.py"]


@pytest.mark.parametrize("file", ["README.md", "docs/glossary.md", "pyproject.toml"])
def test_files_outside_the_packages_choose_nothing(file: str) -> None:
    assert chosen(file) == []


def test_a_test_that_is_no_valid_python_is_still_chosen_when_it_changes() -> None:
    broken = PurePosixPath("tests/sluice/test_broken.py")
    imports = read_test_imports({broken: "def ("}, IMPORTS)
    assert select_tests([broken], IMPORTS, imports, 3).chosen == (broken,)


def test_a_path_becomes_a_module_name() -> None:
    names = {
        file: module_name(PurePosixPath(file))
        for file in ("sluice/a/b.py", "sluice/a/__init__.py", "tests/a.py", "a.py", "b/c.md")
    }
    assert list(names.values()) == ["sluice.a.b", "sluice.a", None, None, None]
