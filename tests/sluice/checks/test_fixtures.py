"""The fixtures as the suites of a project use them: in a layer, and with pytest alone."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import TYPE_CHECKING, ClassVar

import joblib
import pytest

from sluice.checks.layers import LayerInputs, LayerResult
from sluice.checks.suites.inputs import LATEST_MODEL, find_champion, find_model
from sluice.data.holdout import read_labelled_rows
from sluice.data.snapshots import digest_file, pin_snapshot
from sluice.errors import DataError, IntegrityError, StateError
from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluice.project.projects import Project

    Run = Callable[..., LayerResult]

MODEL_SUITE = """
from sluice.checks.judgements import judge_auc, judge_coverage, predict_probability

def test_model(model, holdout, thresholds, verify, champion):
    scores = predict_probability(model, holdout.features)
    verify(judge_auc("auc", holdout.labels, scores, threshold=thresholds["auc"]))
    verify(judge_coverage("coverage", scores, holdout.frame))
    assert champion is None
"""


@pytest.fixture
def trained(shop: Project, tmp_path: Path) -> Path:
    rows = read_labelled_rows(shop, shop.root / "data" / "customers.csv")
    model = shop.load_object("shop.data:build", key="model.build")().fit(rows.features, rows.labels)
    file = tmp_path / "model.joblib"
    joblib.dump(model, file)
    return file


@pytest.fixture(autouse=True)
def _own_modules() -> object:
    """Remove imported modules after each test, because every temporary project has a package of the same name."""
    path, known = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if name.partition(".")[0] == "shop":
            del sys.modules[name]


def bare_pytest(shop: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as a person types it, with the plugin named in the suite's conftest."""
    (shop.root / "tests" / "conftest.py").write_text("pytest_plugins = ['sluice.checks.plugin']\n")
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", *arguments],
        cwd=shop.root,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )


def test_the_model_layer_judges_a_given_model(run: Run, trained: Path) -> None:
    result = run(MODEL_SUITE, layer="model", inputs=LayerInputs(model=trained))
    assert result.outcome is Outcome.PASS, (result.folder / "log.txt").read_text()
    auc = result.verdicts[0]
    assert auc.check == "auc"
    assert auc.interval.low < auc.observed < auc.interval.high
    assert result.metrics()["coverage"] == 1.0


@pytest.mark.slow
def test_the_same_suite_runs_with_pytest_alone(shop: Project, trained: Path) -> None:
    (shop.root / "tests" / "model" / "test_model.py").write_text(MODEL_SUITE)
    missing = bare_pytest(shop, "tests/model")
    assert missing.returncode == 1
    assert "there is no model to test" in missing.stdout
    named = shop.state / LATEST_MODEL.parent / f"{digest_file(trained).removeprefix('sha256:')}.joblib"
    named.parent.mkdir(parents=True)
    named.write_bytes(trained.read_bytes())
    (shop.state / LATEST_MODEL).symlink_to(named.name)
    done = bare_pytest(shop, "tests/model")
    assert done.returncode == 0, done.stdout
    assert "pass         auc: 0." in done.stdout
    named.write_bytes(trained.read_bytes() + b"more")
    assert "has digest sha256:" in bare_pytest(shop, "tests/model").stdout


def test_the_error_for_a_missing_threshold_names_it(run: Run) -> None:
    result = run("def test_one(thresholds): thresholds['recall']")
    assert "there is no thresholds.recall; the thresholds are auc" in result.verdicts[0].detail
    assert "Add recall = <number>" in result.verdicts[0].detail


class Trap:
    """Records that it was unpickled."""

    unpickled: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return record_unpickling, ("loaded",)


def record_unpickling(text: str) -> None:
    Trap.unpickled.append(text)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    Trap.unpickled.clear()
    joblib.dump(Trap(), tmp_path / "trap.joblib")
    return tmp_path / "trap.joblib"


def test_a_model_with_another_digest_is_never_loaded(shop: Project, trained: Path, trap: Path) -> None:
    for find in (find_champion, functools.partial(find_model, release=None)):
        with pytest.raises(IntegrityError, match="has digest"):
            find(shop, str(trap), digest=digest_file(trained))
        assert not Trap.unpickled
        find(shop, str(trap), digest=digest_file(trap))
        assert Trap.unpickled.pop()


def test_a_model_whose_digest_nothing_names_is_never_loaded(shop: Project, trap: Path) -> None:
    with pytest.raises(IntegrityError, match="nothing says which digest the model") as refused:
        find_model(shop, str(trap), None, None)
    assert f"--sluice-model-digest. The file has the digest {digest_file(trap)} now" in refused.value.hint
    with pytest.raises(IntegrityError, match="nothing says which digest"):
        find_champion(shop, str(trap))
    (shop.state / LATEST_MODEL).parent.mkdir(parents=True)
    (shop.state / LATEST_MODEL).symlink_to(trap)
    with pytest.raises(IntegrityError, match="nothing says which digest"):
        find_model(shop, None, None, None)
    assert not Trap.unpickled


def test_the_error_for_a_model_that_cannot_be_read_ends_the_layer(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.joblib"
    broken.write_bytes(b"not a pickle at all")
    with pytest.raises(DataError, match=r"the model broken\.joblib cannot be loaded") as refused:
        run("def test_one(model): ...\ndef test_two(model): ...", layer="model", inputs=LayerInputs(model=broken))
    assert refused.value.exit_code == 2
    result = run("def test_one(champion): ...", layer="model", inputs=LayerInputs(champion=broken))
    assert result.verdicts[0].outcome is Outcome.INCONCLUSIVE
    assert "the champion cannot be compared" in result.verdicts[0].detail


@pytest.mark.slow
def test_the_suite_gets_the_given_snapshot(run: Run, shop: Project) -> None:
    broken = shop.root / "data" / "broken.csv"
    broken.write_text("key,left\n1,0\n")
    pinned = pin_snapshot(str(broken), shop.state / "snapshots")
    result = run(
        f"def test_digest(snapshot): assert snapshot.digest == {pinned.digest!r}\ndef test_rows(snapshot): snapshot.frame",
        layer="data",
        inputs=LayerInputs(snapshot=pinned.path),
    )
    assert [verdict.outcome for verdict in result.verdicts] == [Outcome.PASS, Outcome.FAIL]
    assert "ValueError: column 'spend' is missing" in result.verdicts[1].detail


def test_without_a_release_the_service_fixture_raises_a_state_error(run: Run) -> None:
    with pytest.raises(StateError, match="there is no packaged release to serve"):
        run("def test_one(service): ...", layer="integration")


def test_a_missing_or_changed_holdout_ends_the_layer_with_one_error(run: Run, shop: Project) -> None:
    suite = "def test_one(holdout): ...\ndef test_two(holdout): ..."
    (shop.root / "data" / "holdout.csv").unlink()
    with pytest.raises(DataError, match=r"there is no file .*holdout\.csv"):
        run(suite, layer="model")
    file = shop.root / "sluice.toml"
    file.write_text(file.read_text().replace("[model]", f'holdout_digest = "sha256:{"0" * 64}"\n[model]', 1))
    (shop.root / "data" / "holdout.csv").write_text("key,spend,left\n1,2,0\n")
    with pytest.raises(IntegrityError, match=r"sluice\.toml declares"):
        run(suite, layer="model")


def test_a_projects_own_error_class_is_reported_as_its_base_class(run: Run) -> None:
    suite = """
        import pytest
        from sluice.errors import DataError

        class ShopError(DataError): ...

        @pytest.fixture(scope="session")
        def orders(): raise ShopError("no orders since Monday", hint="Ask the warehouse.")

        def test_one(orders): ...
    """
    with pytest.raises(DataError, match="no orders since Monday") as refused:
        run(suite)
    assert refused.value.hint == "Ask the warehouse."


def test_verify_accepts_only_verdicts(run: Run) -> None:
    result = run("def test_one(verify): verify('auc')")
    assert result.verdicts[0].detail == "TypeError: verify takes verdicts, not str"


def test_verify_without_a_verdict_is_an_error(run: Run) -> None:
    result = run("""
        def test_one(verify): verify([])
        def test_two(verify): verify()
        def test_three(verify): verify(verdict for verdict in ())
    """)
    assert {verdict.detail for verdict in result.verdicts} == {"ValueError: verify got no verdict, so nothing was checked"}
    assert all(verdict.failed for verdict in result.verdicts)
