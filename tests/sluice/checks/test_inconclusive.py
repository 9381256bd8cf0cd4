"""An inconclusive check blocks production, unless sluice.toml allows it with a reason."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from sluice.checks.layers import LayerResult
from sluice.checks.suites.allowances import allow_inconclusive
from sluice.errors import CheckFailedError, ConfigurationError
from sluice.project.projects import read_project
from sluice.report.record_reader import parse_layer
from sluice.report.renderers.terminal import render_layer
from sluice.steps.layers import raise_if_blocked, summarise_checks
from sluice.verdicts import Outcome, Verdict, worst_outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluice.project.projects import Project

    Run = Callable[..., LayerResult]

SUITE = """
    import pytest
    from sluice.verdicts import Outcome, Verdict

    def test_auc(verify):
        verify(Verdict(check="auc", outcome=Outcome.INCONCLUSIVE, rows=27, detail="27 rows with 12 positive"))

    def test_fine(): ...

    @pytest.mark.skip(reason="no shop in Finland yet")
    def test_finland(): ...
"""


def allow(shop: Project, **reasons: str) -> None:
    file = shop.root / "sluice.toml"
    table = "".join(f'"{check}" = "{why}"\n' for check, why in reasons.items())
    file.write_text(file.read_text() + f"\n[tests.allow_inconclusive]\n{table}")


def cases(result: LayerResult) -> dict[str, str]:
    """Return the name of each test case of the JUnit file, with its result."""
    document = ET.parse(result.folder / "junit.xml")  # noqa: S314 - its own file
    return {
        case.get("name", ""): next((part.tag for part in case if part.tag != "properties"), "")
        for case in document.iter("testcase")
    }


def test_an_inconclusive_check_blocks_production(run: Run) -> None:
    result = run(SUITE)
    assert result.outcome is Outcome.INCONCLUSIVE
    assert [verdict.check for verdict in result.verdicts if verdict.blocks] == ["auc", "test_finland"]
    assert cases(result) == {"auc": "failure", "test_fine": "", "test_finland": "failure"}
    assert summarise_checks(result) == "3 checks, 2 inconclusive"
    with pytest.raises(CheckFailedError) as refused:
        raise_if_blocked(result)
    assert refused.value.exit_code == 4
    assert refused.value.message == "code tests are inconclusive: auc: 27 rows: 27 rows with 12 positive (and 1 more check)"
    assert "allow them in sluice.toml" in refused.value.hint
    assert refused.value.hint.endswith('[tests.allow_inconclusive]: "auc" = "the reason", "test_finland" = "the reason".')
    log = (result.folder / "log.txt").read_text()
    assert "1 failed, 1 passed, 1 skipped" in log
    assert "[tests.allow_inconclusive]" in log


@pytest.mark.parametrize("names", [["auc"], ["auc", "test_finland", "brier"]])
@pytest.mark.parametrize("failed", [[], ["null_rate"]])
def test_one_run_names_every_check_that_a_person_may_allow(tmp_path: Path, names: list[str], failed: list[str]) -> None:
    outcomes = [(name, Outcome.INCONCLUSIVE) for name in names] + [(name, Outcome.FAIL) for name in failed]
    verdicts = [Verdict(check=name, outcome=outcome) for name, outcome in outcomes]
    with pytest.raises(CheckFailedError) as refused:
        raise_if_blocked(LayerResult(layer="model", outcome=Outcome.FAIL, verdicts=verdicts, seconds=1.0, folder=tmp_path))
    allowed = tomllib.loads("\n".join(re.findall(r'"\w+" = "the reason"', refused.value.hint)))
    assert list(allowed) == names
    assert ("allow it" in refused.value.hint) == (len(allowed) == 1)


def test_a_step_in_a_pod_points_to_the_report_of_the_run_and_to_no_folder_that_is_gone(tmp_path: Path) -> None:
    failed = LayerResult(
        layer="model", outcome=Outcome.FAIL, verdicts=[Verdict(check="auc", outcome=Outcome.FAIL)], seconds=1.0, folder=tmp_path
    )
    for kept, expected in ((True, str(tmp_path / "report.html")), (False, "`sluice report` of this run")):
        with pytest.raises(CheckFailedError) as refused:
            raise_if_blocked(failed, kept=kept)
        assert refused.value.hint.startswith(f"Look at {expected}, or run ")


def test_sluice_toml_allows_a_check_with_a_reason(run: Run, shop: Project) -> None:
    allow(shop, auc="the pilot has few customers", test_finland="the shop opens in May")
    result = run(SUITE)
    assert result.outcome is Outcome.PASS
    raise_if_blocked(result)
    assert cases(result) == {"auc": "skipped", "test_fine": "", "test_finland": "skipped"}
    assert summarise_checks(result) == "3 checks, 2 inconclusive but allowed"
    assert "1 passed, 2 skipped" in (result.folder / "log.txt").read_text()
    page = (result.folder / "report.html").read_text()
    assert "27 rows with 12 positive; allowed to be inconclusive: the pilot has few customers" in page
    assert "(2 inconclusive but allowed)" in page


def test_a_reason_allows_only_the_check_that_it_names(run: Run, shop: Project) -> None:
    allow(shop, auc="the pilot has few customers")
    result = run(SUITE)
    assert [verdict.check for verdict in result.verdicts if verdict.blocks] == ["test_finland"]
    assert result.outcome is Outcome.INCONCLUSIVE


def test_a_reason_does_not_allow_a_failed_check(run: Run, shop: Project) -> None:
    allow(shop, **{"*": "everything may be inconclusive"})
    result = run("def test_wrong(): assert 0")
    assert result.outcome is Outcome.FAIL


@pytest.mark.slow
def test_plain_pytest_fails_too(shop: Project) -> None:
    """`pytest tests/code` on a laptop and the layer agree about a verdict that blocks."""
    (shop.root / "tests" / "conftest.py").write_text('pytest_plugins = ["sluice.checks.plugin"]\n')
    (shop.root / "tests" / "code" / "test_suite.py").write_text("\n".join(line[4:] for line in SUITE.splitlines()))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/code"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.run(command, cwd=shop.root, env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 1, first.stdout
    assert "inconclusive: auc" in first.stdout
    allow(shop, auc="the pilot has few customers")
    second = subprocess.run(command, cwd=shop.root, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stdout


@pytest.mark.parametrize("reason", ["", "   "])
def test_a_reason_must_not_be_empty(shop: Project, reason: str) -> None:
    allow(shop, auc=reason)
    with pytest.raises(ConfigurationError, match=r"tests\.allow_inconclusive\.auc"):
        read_project(shop.root)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("auc[new]", True),
        ("auc[*]", True),
        ("*", True),
        ("*new*", True),
        ("auc", False),
        ("auc[n]", False),
        ("auc.new.", False),
        ("AUC[new]", False),
        ("", False),
    ],
)
def test_a_star_in_a_name_stands_for_any_characters(pattern: str, fits: bool) -> None:
    verdict = Verdict(check="auc[new]", outcome=Outcome.INCONCLUSIVE)
    assert (allow_inconclusive(verdict, {pattern: "why"}).allowed == "why") == fits


def test_the_reason_of_the_exact_name_takes_precedence() -> None:
    verdict = Verdict(check="auc", outcome=Outcome.INCONCLUSIVE)
    assert allow_inconclusive(verdict, {"*": "all", "auc": "this one"}).allowed == "this one"


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.FAIL])
def test_other_outcomes_have_no_reason(outcome: Outcome) -> None:
    assert allow_inconclusive(Verdict(check="auc", outcome=outcome), {"*": "why"}).allowed == ""


def test_the_worst_outcome_leaves_out_what_is_allowed() -> None:
    allowed = Verdict(check="few", outcome=Outcome.INCONCLUSIVE, allowed="why")
    unclear = Verdict(check="few", outcome=Outcome.INCONCLUSIVE)
    failed = Verdict(check="low", outcome=Outcome.FAIL)
    assert worst_outcome([allowed]) is Outcome.PASS
    assert worst_outcome([allowed, unclear]) is Outcome.INCONCLUSIVE
    assert worst_outcome([unclear, failed]) is Outcome.FAIL


def test_an_older_record_without_a_reason_still_blocks() -> None:
    stored = Verdict(check="few", outcome=Outcome.INCONCLUSIVE).to_dict()
    del stored["allowed"]
    assert Verdict.from_dict(stored).blocks


def test_the_terminal_shows_why_a_check_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    verdict = Verdict(check="auc", outcome=Outcome.INCONCLUSIVE, detail="27 rows", allowed="the pilot is small")
    values = {"layer": "model", "outcome": "pass", "seconds": 1.0, "verdicts": [verdict.to_dict()]}
    Console(width=120).print(render_layer(values))
    shown = capsys.readouterr().out
    assert "27 rows; allowed to be inconclusive: the pilot is small" in shown
    assert "1 allowed to be inconclusive" in shown
    assert parse_layer(values).allowed == 1
