"""A running supervisor reads [rollout] again when a person asks for it, and the status says which settings are in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from laptop_rollouts import make_champion, start_canary
from rollout_backends import name_release, wait_for

from sluice.cli.production.rollout_facts import list_status_facts
from sluice.project.projects import Project, read_project
from sluice.rollout.requests import commands, statuses

if TYPE_CHECKING:
    import threading

pytestmark = pytest.mark.usefixtures("gate_passed")

A, B = name_release("a"), name_release("b")
TOML = """
[project]
name = "quick"
[data]
snapshot = "s"
holdout = "h"
load = "m:f"
label = "l"
id = "i"
[model]
build = "m:f"
[rollout]
steps = [20, 100]
margin = {margin}
first_look = 60
bake_seconds = 0.3
deadline_seconds = 600.0
request_timeout_seconds = {timeout}
"""


def change_file(project: Project, margin: object = 0.05, timeout: float = 5.0) -> None:
    (project.root / "sluice.toml").write_text(TOML.format(margin=margin, timeout=timeout))


def find_differences(project: Project) -> dict[str, tuple[object, object]]:
    status = statuses.read_status(read_project(project.root))
    return {one["name"]: (one["in_force"], one["file"]) for one in status.settings}


def test_a_change_applies_on_sighup_but_never_to_a_running_rollout(
    project: Project, serving: str, lines: list[str], reload: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert serving
    change_file(project)
    make_champion(project, A)
    wait_for(lambda: find_differences(project) == {})
    change_file(project, margin=0.02, timeout=7.0)
    assert find_differences(project) == {"margin": (0.05, 0.02), "request_timeout_seconds": (5.0, 7.0)}
    start_canary(project, B)
    wait_for(lambda: statuses.read_status(project).state == "step-1")
    monkeypatch.setattr("sluice.cli.production.rollout_facts.find_release", lambda *_: type("Named", (), {"number": 1}))
    told = str(list_status_facts(project, statuses.read_status(read_project(project.root)))["settings"]).splitlines()
    assert told[0] == "margin: 0.05 is in force, sluice.toml says 0.02"
    assert told[2].startswith("`kill -HUP ")
    assert told[2].endswith("The change applies when the running rollout has ended.")
    assert told[3] == "A new start of `sluice serve` lets request_timeout_seconds apply."

    reload.set()
    wait_for(lambda: any("applies when the running rollout has ended" in line for line in lines))
    assert "margin" in find_differences(project)
    commands.abort(project, by="kim")
    wait_for(lambda: find_differences(project) == {"request_timeout_seconds": (5.0, 7.0)})
    expected = "from now on margin = 0.02 (was 0.05); request_timeout_seconds = 7.0 needs a new start of `sluice serve`"
    assert f"sluice.toml was read again: {expected}" in lines


def test_a_file_with_an_error_changes_nothing(project: Project, serving: str, lines: list[str], reload: threading.Event) -> None:
    assert serving
    change_file(project, margin='"much"')
    reload.set()
    wait_for(lambda: any("the settings stay as they are" in line and "rollout.margin" in line for line in lines))
    change_file(project)
    reload.set()
    wait_for(lambda: "sluice.toml was read again: nothing has changed" in lines)
    assert find_differences(project) == {}
