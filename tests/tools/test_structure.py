"""Each check of `tools/structure.py` fails when it should: on small trees with one fault each, and on nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.import_cycles import find_cycles
from tools.structure import StructureError, check_structure, main, read_rules

ROOT = Path(__file__).resolve().parents[2]

RULES = """
[tool.sluice.structure]
modules_in_a_folder = 3
lines_in_a_file = 10
not_packages = ["tests"]
forbidden_names = ["journal", "utils"]
names_checked_in = ["shop"]
"""

SOUND = {
    "shop/__init__.py": "",
    "shop/errors.py": "class ShopError(Exception): ...",
    "shop/orders/__init__.py": "",
    "shop/orders/prices.py": "from shop import errors",
    "shop/orders/baskets.py": "from shop.orders import prices",
    "parts/__init__.py": "",
    "parts/wheel.py": "import shop.orders.baskets",
    "tests/test_shop.py": "import shop",
}
"""A tree without problems. No name is that of a package of this repository, so that Python does not find that one instead."""


def write_tree(root: Path, files: dict[str, str], rules: str = RULES) -> Path:
    for name, text in {**SOUND, **files, "pyproject.toml": rules}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    return root


def problems_of(root: Path, files: dict[str, str], rules: str = RULES) -> list[str]:
    return check_structure(write_tree(root, files, rules))[0]


def only_problem(root: Path, files: dict[str, str], rules: str = RULES) -> str:
    (problem,) = problems_of(root, files, rules)
    return problem


def with_exception(path: str, limit: int, reason: str = "generated from a schema") -> str:
    return f'{RULES}[[tool.sluice.structure.exceptions]]\npath = "{path}"\nlimit = {limit}\nreason = "{reason}"\n'


def test_a_sound_tree_has_no_problem(tmp_path: Path) -> None:
    problems, checked = check_structure(write_tree(tmp_path, {}))
    assert problems == []
    assert checked == "7 modules and 3 imports in 2 packages, 8 files in 4 folders"


def test_a_direct_cycle_is_a_problem_with_its_modules_and_lines_in_order(tmp_path: Path) -> None:
    problem = only_problem(tmp_path, {"shop/orders/prices.py": "import os\nfrom shop.orders import baskets"})
    assert "Import cycle between 2 modules: shop.orders.baskets → shop.orders.prices → shop.orders.baskets." in problem
    assert (
        "shop.orders.baskets imports shop.orders.prices (line 1) and shop.orders.prices imports shop.orders.baskets (line 2)"
        in problem
    )


def test_a_cycle_of_three_modules_is_a_problem(tmp_path: Path) -> None:
    files = {"shop/orders/prices.py": "from shop.orders import taxes", "shop/orders/taxes.py": "from shop.orders import baskets"}
    assert "shop.orders.baskets → shop.orders.prices → shop.orders.taxes → shop.orders.baskets." in only_problem(tmp_path, files)


def test_a_cycle_inside_a_function_is_a_problem(tmp_path: Path) -> None:
    files = {"shop/orders/prices.py": "def total():\n    from shop.orders.baskets import goods\n    return goods"}
    assert "shop.orders.prices imports shop.orders.baskets (line 2)" in only_problem(tmp_path, files)


def test_a_cycle_through_type_checking_is_a_problem(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop.orders.baskets import Basket"
    assert "shop.orders.prices imports shop.orders.baskets (line 3)" in only_problem(tmp_path, {"shop/orders/prices.py": text})


def test_a_cycle_of_a_module_with_its_own_package_is_a_problem(tmp_path: Path) -> None:
    files = {
        "shop/orders/__init__.py": "from shop.orders.prices import price",
        "shop/orders/prices.py": "from shop.orders import price",
    }
    assert "Import cycle between 2 modules: shop.orders → shop.orders.prices → shop.orders." in only_problem(tmp_path, files)


def test_a_cycle_across_top_level_packages_is_reported_for_the_modules_and_for_the_packages(tmp_path: Path) -> None:
    modules, packages = problems_of(tmp_path, {"shop/orders/prices.py": "from parts import wheel"})
    assert "Import cycle between 3 modules: parts.wheel → shop.orders.baskets → shop.orders.prices → parts.wheel." in modules
    assert "Package cycle between the top-level packages: parts → shop → parts." in packages


def test_a_cycle_between_the_children_of_a_package_needs_no_cycle_between_modules(tmp_path: Path) -> None:
    files = {
        "shop/stock/__init__.py": "",
        "shop/stock/shelves.py": "import shop.orders.baskets",
        "shop/stock/counts.py": "",
        "shop/orders/prices.py": "from shop.stock import counts",
    }
    problem = only_problem(tmp_path, files)
    assert "Package cycle inside shop: shop.orders → shop.stock → shop.orders." in problem
    assert (
        "shop.orders.prices imports shop.stock.counts (line 1) and shop.stock.shelves imports shop.orders.baskets (line 1)"
        in problem
    )


def test_a_module_and_a_package_beside_it_may_not_import_each_other(tmp_path: Path) -> None:
    files = {"shop/errors.py": "import shop.orders.rules", "shop/orders/rules.py": ""}
    assert "Package cycle inside shop: shop.errors → shop.orders → shop.errors." in only_problem(tmp_path, files)


def test_each_separate_cycle_is_a_problem_of_its_own(tmp_path: Path) -> None:
    files = {
        "shop/orders/prices.py": "from shop.orders import baskets",
        "parts/wheel.py": "from parts import axle",
        "parts/axle.py": "from parts import wheel",
    }
    assert len(problems_of(tmp_path, files)) == 2


def test_the_shortest_cycle_of_a_group_is_reported() -> None:
    edges = {"a": ["b"], "b": ["c"], "c": ["d", "b"], "d": ["a"], "e": ["a"]}
    assert find_cycles(edges) == [["b", "c"]]
    assert find_cycles({"a": ["b"], "b": ["c"], "c": []}) == []


@pytest.mark.parametrize("folder", ["shop/orders", "tests", "parts"])
def test_a_folder_with_too_many_modules_is_a_problem(tmp_path: Path, folder: str) -> None:
    files = {f"{folder}/more_{number}.py": "" for number in range(4)}
    problem = only_problem(tmp_path, files)
    assert problem.startswith(f"The folder {folder} has ")
    assert "the limit is 3" in problem


def test_init_and_conftest_do_not_count_towards_the_size_of_a_folder(tmp_path: Path) -> None:
    assert problems_of(tmp_path, {"shop/orders/conftest.py": "", "shop/orders/taxes.py": ""}) == []


@pytest.mark.parametrize("file", ["shop/orders/prices.py", "tests/test_shop.py"])
def test_a_file_with_too_many_lines_is_a_problem(tmp_path: Path, file: str) -> None:
    assert problems_of(tmp_path, {file: "\n" * 9}) == []
    assert only_problem(tmp_path, {file: "\n" * 10}).startswith(f"The file {file} has 11 lines; the limit is 10.")


@pytest.mark.parametrize("file", ["shop/utils.py", "shop/orders/journal.py", "shop/journal/__init__.py"])
def test_a_name_that_says_nothing_is_a_problem(tmp_path: Path, file: str) -> None:
    assert "does not say what belongs there" in only_problem(tmp_path, {file: ""})


def test_names_are_checked_only_in_the_packages_that_the_rules_list(tmp_path: Path) -> None:
    assert problems_of(tmp_path, {"parts/utils.py": ""}) == []


def test_an_exception_raises_the_limit_for_one_path(tmp_path: Path) -> None:
    files = {"shop/orders/prices.py": "\n" * 14}
    assert problems_of(tmp_path, files, with_exception("shop/orders/prices.py", 15)) == []
    assert "has 15 lines; the limit is 12" in only_problem(tmp_path, files, with_exception("shop/orders/prices.py", 12))


def test_an_exception_that_is_no_longer_needed_is_a_problem(tmp_path: Path) -> None:
    file = only_problem(tmp_path, {}, with_exception("shop/errors.py", 15))
    assert file.startswith(
        "shop/errors.py has 1 lines, which is within the general limit of 10. Its exception is no longer needed."
    )
    folder = only_problem(tmp_path, {}, with_exception("shop/orders", 15))
    assert folder.startswith("shop/orders has 2 Python modules, which is within the general limit of 3.")
    assert "there is no Python code" in only_problem(tmp_path, {}, with_exception("shop/gone.py", 15))


def test_an_exception_without_a_reason_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, {}, with_exception("shop/errors.py", 15, reason=" "))
    with pytest.raises(StructureError, match=r"The exception for shop/errors\.py has no reason"):
        check_structure(tmp_path)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("", "has no table"),
        ("[tool.sluice.structure]\nlines_in_a_file = 10\n", "lacks the key 'modules_in_a_folder'"),
        (f"{RULES}max_lines = 3\n", "unknown keys: max_lines"),
    ],
)
def test_rules_that_cannot_be_read_are_refused(tmp_path: Path, rules: str, message: str) -> None:
    write_tree(tmp_path, {}, rules)
    with pytest.raises(StructureError, match=message):
        read_rules(tmp_path / "pyproject.toml")


def test_a_folder_without_an_init_file_is_a_problem_because_no_check_sees_its_imports(tmp_path: Path) -> None:
    assert "The folder shop/stock has Python modules but no __init__.py" in only_problem(tmp_path, {"shop/stock/shelves.py": ""})
    (tmp_path / "shop/stock/shelves.py").unlink()
    assert "The folder scripts has Python modules but no __init__.py" in only_problem(tmp_path, {"scripts/build.py": ""})


def test_hidden_folders_and_virtual_environments_are_not_checked(tmp_path: Path) -> None:
    files = {".cache/made.py": "\n" * 20, "venv/pyvenv.cfg": "", "venv/lib/made.py": "\n" * 20}
    assert problems_of(tmp_path, files) == []


def test_a_package_that_python_finds_elsewhere_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, {"json/__init__.py": ""})
    with pytest.raises(StructureError, match="Python finds the package json outside"):
        check_structure(tmp_path)


def test_the_exit_code_says_whether_there_are_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(write_tree(tmp_path, {}))]) == 0
    assert capsys.readouterr().out.startswith("structure: no problem (7 modules and 3 imports")
    assert main(["--root", str(write_tree(tmp_path, {"shop/utils.py": ""}))]) == 1
    assert "- The name of shop/utils.py" in capsys.readouterr().out
    assert main(["--root", str(write_tree(tmp_path, {}, rules=""))]) == 2
    assert "has no table" in capsys.readouterr().err


def test_the_script_runs_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools/structure.py"), "--root", str(write_tree(tmp_path, {}))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
