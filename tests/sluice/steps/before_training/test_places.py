"""A step whose state folder is lost with its pod is refused if something that must outlive it would be there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluice.errors import ConfigurationError
from sluice.project.projects import Project, read_project
from sluice.steps.before_training.places import check_places, warn_of_lost_journal
from sluice.steps.gating import ask_gate
from sluice.steps.packaging import package
from sluice.steps.snapshots import pin

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {
    "SLUICE_SERVING__REPOSITORY": "registry.example.com/tiny",
    "SLUICE_GATE__CONFIG_MAP": "ledger",
    "SLUICE_DATA__HOLDOUT_DIGEST": f"sha256:{'0' * 64}",
}


@pytest.fixture
def pod(tiny: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("SLUICE_EPHEMERAL", "1")
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    return tiny


@pytest.mark.parametrize("missing", SETTINGS)
def test_each_missing_setting_is_named(pod: Project, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_places(read_project(pod.root))
    monkeypatch.delenv(missing)
    key = missing.removeprefix("SLUICE_").lower().replace("__", ".")
    with pytest.raises(ConfigurationError, match=f"the state folder of this step is lost .*, and {key} is not set") as refused:
        check_places(read_project(pod.root))
    assert f"Set {key} in sluice.toml or in steps.env" in refused.value.hint
    monkeypatch.delenv("SLUICE_EPHEMERAL")
    check_places(read_project(pod.root))


def test_the_gate_and_the_packaging_refuse_before_they_do_anything(
    pod: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pod.root)
    monkeypatch.delenv("SLUICE_GATE__CONFIG_MAP")
    with pytest.raises(ConfigurationError, match="nobody counts the questions to the gate"):
        ask_gate("no-model", {}, "", "")
    monkeypatch.delenv("SLUICE_SERVING__REPOSITORY")
    with pytest.raises(ConfigurationError, match="no other step finds the release"):
        package("no-model", {}, [], "", "", "", "")


def test_the_first_step_refuses_so_that_nothing_is_trained_in_vain(
    pod: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pod.root)
    (pod.root / "locks").mkdir()
    (pod.root / "locks" / "serving.txt").touch()
    monkeypatch.setenv("SLUICE_PROJECT__PACKAGES", "[]")
    monkeypatch.delenv("SLUICE_DATA__HOLDOUT_DIGEST")
    with pytest.raises(ConfigurationError, match="nobody notices another holdout"):
        pin("", tmp_path / "snapshot")


def test_a_journal_that_would_be_lost_is_a_warning(pod: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (warning,) = warn_of_lost_journal(read_project(pod.root))
    assert "rollout.splitter is 'envoy', so no champion is known here" in warning.text
    monkeypatch.setenv("SLUICE_ROLLOUT__SPLITTER", "seldon")
    assert warn_of_lost_journal(read_project(pod.root)) == []
