"""Runs of a layer: real suites in a real child process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from sluice.checks.layers import VERDICTS_FILE, LayerInputs, LayerResult, run_layer
from sluice.errors import ConfigurationError, DataError, ServiceError, UsageError
from sluice.verdicts import Interval, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluice.project.projects import Project

    Run = Callable[..., LayerResult]


def outcomes(result: LayerResult) -> dict[str, str]:
    return {verdict.check: verdict.outcome.value for verdict in result.verdicts}


def read_verdicts(result: LayerResult) -> dict[str, Any]:
    written: dict[str, Any] = json.loads((result.folder / VERDICTS_FILE).read_text())
    return written


def find(result: LayerResult, check: str) -> Verdict:
    return next(verdict for verdict in result.verdicts if verdict.check == check)


def test_plain_tests_become_verdicts_named_after_their_functions(run: Run) -> None:
    result = run('''
        import pytest

        def test_sums():
            """Sums are right.

            More words.
            """
            assert 1 + 1 == 2

        def test_wrong():
            """Products are right."""
            assert 2 * 2 == 5

        @pytest.mark.skip(reason="not today")
        def test_skipped(): ...

        @pytest.mark.xfail(reason="known", strict=True)
        def test_expected(): assert False

        @pytest.mark.parametrize("hour", [0, 24])
        def test_hours(hour): ...
    ''')
    assert result.outcome is Outcome.FAIL
    assert outcomes(result) == {
        "test_sums": "pass",
        "test_wrong": "fail",
        "test_skipped": "inconclusive",
        "test_expected": "inconclusive",
        "test_hours[0]": "pass",
        "test_hours[24]": "pass",
    }
    assert find(result, "test_sums").detail == "Sums are right."
    assert find(result, "test_wrong").detail.startswith("Products are right: assert (2 * 2) == 5")
    assert find(result, "test_skipped").detail == "skipped: not today"
    assert find(result, "test_expected").detail == "expected to fail: known"
    assert [failure.check for failure in result.failures] == ["test_wrong"]
    assert "assert (2 * 2) == 5" in result.failures[0].text


def test_all_verdicts_of_a_test_are_recorded_and_a_failed_one_fails_the_test(run: Run) -> None:
    result = run("""
        from sluice.verdicts import Interval, Outcome, Verdict

        def test_three(verify):
            interval = Interval(0.7, 0.9, 0.95, "Wilson")
            verify(Verdict(check="few", outcome=Outcome.INCONCLUSIVE, rows=3, detail="too few"))
            verify([Verdict(check="low", outcome=Outcome.FAIL, observed=0.5, threshold=0.6, comparison=">=", rows=90)])
            verify(Verdict(check="fine", outcome=Outcome.PASS, observed=0.8, interval=interval, threshold=0.75, unproven=True))

        def test_unclear(verify):
            verify(Verdict(check="unclear", outcome=Outcome.INCONCLUSIVE))
    """)
    assert outcomes(result) == {"few": "inconclusive", "low": "fail", "fine": "pass", "unclear": "inconclusive"}
    assert result.outcome is Outcome.FAIL
    assert [failure.message for failure in result.failures] == ["low: 0.5 is not >= 0.6, 90 rows"]
    log = (result.folder / "log.txt").read_text()
    assert "2 failed" in log
    assert "inconclusive: few: 3 rows: too few" in log
    assert "low: 0.5 is not >= 0.6" in log


def test_an_error_after_a_passed_verdict_becomes_a_failed_verdict(run: Run) -> None:
    result = run("""
        from sluice.verdicts import Outcome, Verdict

        def test_breaks(verify):
            verify(Verdict(check="fine", outcome=Outcome.PASS))
            raise RuntimeError("after all")
    """)
    assert outcomes(result) == {"fine": "pass", "test_breaks": "fail"}
    assert find(result, "test_breaks").detail == "RuntimeError: after all"


def test_a_verdict_during_the_teardown_is_recorded(run: Run) -> None:
    result = run("""
        import pytest
        from sluice.verdicts import Outcome, Verdict

        @pytest.fixture
        def late(verify):
            yield
            verify(Verdict(check="late", outcome=Outcome.FAIL, observed=1.0, threshold=0.0, comparison="<="))

        def test_one(late): ...
    """)
    assert outcomes(result) == {"late": "fail"}
    assert "1 passed, 1 error" in (result.folder / "log.txt").read_text()


def test_the_failure_of_a_fixture_names_the_phase(run: Run) -> None:
    result = run("""
        import pytest

        @pytest.fixture
        def before(): raise OSError("no disk")

        @pytest.fixture
        def after():
            yield
            raise OSError("no disk left")

        def test_set_up(before): ...
        def test_torn_down(after): ...
        def test_both(after): assert False
    """)
    assert find(result, "test_set_up").detail == "setup: OSError: no disk"
    assert find(result, "test_torn_down").detail == "teardown: OSError: no disk left"
    assert {"test_both", "test_both (teardown)"} <= set(outcomes(result))
    assert set(outcomes(result).values()) == {"fail"}


def test_equal_check_names_get_numbers(run: Run) -> None:
    given = """
        from sluice.verdicts import Outcome, Verdict
        def test_same(verify): verify(Verdict(check="auc", outcome=Outcome.FAIL, observed={}))
        def test_name(): ...
    """
    result = run({"test_a.py": given.format(0.1), "test_b.py": given.format(0.2)})
    assert set(outcomes(result)) == {"auc", "auc (2)", "test_a.test_name", "test_b.test_name"}
    assert {failure.check: failure.message for failure in result.failures} == {"auc": "auc: 0.1", "auc (2)": "auc: 0.2"}
    assert result.metrics()["auc (2)"] == 0.2


def test_a_suite_without_tests_fails(run: Run) -> None:
    result = run("x = 1")
    assert outcomes(result) == {"code_suite": "fail"}
    assert result.verdicts[0].detail == "tests/code has no tests"


def test_a_suite_that_does_not_exist_is_a_configuration_error(run: Run, shop: Project) -> None:
    (shop.root / "tests" / "code").rmdir()
    with pytest.raises(ConfigurationError, match=r"tests\.code names 'tests/code', but /.* does not exist"):
        run({})


def test_a_layer_fails_if_all_tests_are_skipped(run: Run) -> None:
    result = run("""
        import pytest
        pytestmark = pytest.mark.skip(reason="later")
        def test_one(): ...
        def test_two(): ...
    """)
    assert outcomes(result) == {"test_one": "inconclusive", "test_two": "inconclusive", "code_suite": "fail"}
    assert find(result, "code_suite").detail == "all 2 tests of tests/code were skipped, so nothing was checked"


def test_a_layer_fails_if_every_module_is_skipped(run: Run) -> None:
    result = run("import pytest; pytest.importorskip('no_such_library_anywhere')")
    assert result.outcome is Outcome.FAIL
    assert find(result, "tests/code/test_suite.py").outcome is Outcome.INCONCLUSIVE
    assert find(result, "code_suite").detail == "tests/code has no tests to run, because every module is skipped"


def test_a_layer_is_inconclusive_if_all_verdicts_are(run: Run) -> None:
    result = run("""
        from sluice.verdicts import Outcome, Verdict
        def test_few(verify): verify(Verdict(check="few", outcome=Outcome.INCONCLUSIVE))
    """)
    assert result.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def test_broken(:\n    pass", "SyntaxError"),
        ("import no_such_library_anywhere\ndef test_one(): ...", "No module named 'no_such_library_anywhere'"),
    ],
    ids=["syntax", "import"],
)
def test_a_module_that_cannot_be_imported_fails_and_the_others_run(run: Run, source: str, message: str) -> None:
    result = run({"test_bad.py": source, "test_good.py": "def test_good(): ..."})
    assert outcomes(result) == {"tests/code/test_bad.py": "fail", "test_good": "pass"}
    assert message in find(result, "tests/code/test_bad.py").detail
    assert "cannot be imported" in find(result, "tests/code/test_bad.py").detail


def test_a_conftest_that_cannot_be_imported_fails_the_suite(run: Run) -> None:
    result = run({"conftest.py": "import no_such_library_anywhere", "test_good.py": "def test_good(): ..."})
    assert outcomes(result) == {"code_suite": "fail"}
    assert "No module named 'no_such_library_anywhere'" in result.verdicts[0].detail


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV during tests/code/test_suite.py::test_ends"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL during tests/code/test_suite.py::test_ends"),
        ("os._exit(0)", "the process of tests/code exited with code 0 during tests/code/test_suite.py::test_ends"),
        ("pytest.exit('enough', returncode=0)", "was stopped after 1 of 3 tests"),
        ("raise KeyboardInterrupt", "was stopped after 1 of 3 tests"),
    ],
)
def test_a_suite_that_crashes_keeps_its_verdicts_and_names_the_test(run: Run, ending: str, message: str) -> None:
    result = run(f"""
        import os, signal, pytest
        def test_first(): ...
        def test_ends(): {ending}
        def test_never(): ...
    """)
    assert outcomes(result) == {"test_first": "pass", "code_suite": "fail"}
    assert message in find(result, "code_suite").detail


def test_a_failure_at_exit_fails_the_suite(run: Run) -> None:
    result = run("""
        import atexit, os
        atexit.register(os._exit, 7)
        def test_one(): ...
    """)
    assert "exit code 7 although no test failed" in find(result, "code_suite").detail


def test_an_error_inside_pytest_fails_the_suite(run: Run) -> None:
    result = run(
        {
            "conftest.py": "def pytest_runtest_protocol(item): raise ZeroDivisionError('hook')",
            "test_one.py": "def test_one(): ...",
        }
    )
    assert outcomes(result) == {"code_suite": "fail"}
    assert "pytest itself failed" in result.verdicts[0].detail
    assert "ZeroDivisionError: hook" in result.verdicts[0].detail


def test_an_unknown_layer_or_a_missing_input_is_an_error(shop: Project, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no layer 'unit'"):
        run_layer(shop, "unit", LayerInputs(), tmp_path / "results")
    with pytest.raises(DataError, match=r"the model file .*gone\.joblib does not exist"):
        run_layer(shop, "model", LayerInputs(model=tmp_path / "gone.joblib"), tmp_path / "results")
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="the results cannot be written"):
        run_layer(shop, "code", LayerInputs(), tmp_path / "file")


def test_the_result_files_agree(run: Run) -> None:
    result = run("""
        from sluice.verdicts import Interval, Outcome, Verdict
        def test_auc(verify):
            interval = Interval(0.78, 0.86, 0.95, "logit-DeLong")
            verify(Verdict(check="auc <overall>", outcome=Outcome.PASS, observed=0.82, interval=interval, threshold=0.8,
                           comparison=">=", rows=1200, unproven=True))
        def test_bad(): assert "<b>\\x1b[31m\\x00" == ""
        def test_skipped(): __import__("pytest").skip("later")
    """)
    assert LayerResult.from_dict(read_verdicts(result)) == result
    suite = ET.parse(result.folder / "junit.xml").getroot()[0]  # noqa: S314 - its own file
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {"tests": "3", "failures": "2", "skipped": "0"}
    values = {one.get("name"): one.get("value") for one in suite.iterfind("testcase[1]/properties/property")}
    assert values["interval_low"] == "0.78"
    page = (result.folder / "report.html").read_text()
    assert "auc &lt;overall&gt;" in page
    assert "unproven" in page
    assert "<b>" not in page
    assert page.count("<svg") == 1
    assert "http" not in page
    assert "<script" not in page


def test_an_earlier_pass_does_not_hide_a_crash(run: Run) -> None:
    assert run("def test_one(): ...").outcome is Outcome.PASS
    result = run("import os; os._exit(1)")
    assert result.outcome is Outcome.FAIL
    assert read_verdicts(result)["outcome"] == "fail"
    assert "could not be started" in result.verdicts[0].detail


def test_metrics_are_finite_numbers() -> None:
    interval = Interval(0.7, float("inf"), 0.95, "none")
    verdicts = [
        Verdict(check="auc", outcome=Outcome.PASS, observed=0.8, interval=interval, unproven=True),
        Verdict(check="plain", outcome=Outcome.FAIL),
    ]
    metrics = LayerResult("model", Outcome.FAIL, verdicts, 1.0, None).metrics()
    assert metrics == {
        "auc": 0.8,
        "auc_low": 0.7,
        "checks": 2.0,
        "checks_failed": 1.0,
        "checks_inconclusive": 0.0,
        "checks_allowed": 0.0,
        "checks_unproven": 1.0,
    }
