"""The recurring run of a project on KFP: replaced in place, and never deleted while one of its runs goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from sluice.engines import SchedulePlan
from sluice.engines.kfp.schedules import RecurringRuns, describe_plan
from sluice.engines.kfp.versions import Version
from sluice.errors import StateError
from sluice.project.tables.pipelines.kfp import KfpTable

PLAN = SchedulePlan(pipeline="retrain", cron="17 4 * * 1")
VERSION = Version(pipeline_id="p", version_id="v", name="shop-retrain-1")


@dataclass
class KfpInMemory:
    """KFP's recurring runs. Deleting one deletes the Workflows of its runs, as the real one does."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    recurring: list[dict[str, Any]] = field(default_factory=list)
    _run_api: Any = field(
        default_factory=lambda: SimpleNamespace(api_client=SimpleNamespace(configuration=SimpleNamespace(host="http://kfp")))
    )

    def list_recurring_runs(self, **_: object) -> Any:
        return SimpleNamespace(recurring_runs=[SimpleNamespace(to_dict=one.copy) for one in reversed(self.recurring)])

    def create_recurring_run(self, _experiment: str, name: str, *, enabled: bool, description: str, **_: object) -> None:
        found = {"recurring_run_id": f"s{len(self.recurring) + 1}", "display_name": name, "description": description}
        self.recurring.append(found | {"status": "ENABLED" if enabled else "DISABLED"})

    def disable_recurring_run(self, recurring: str) -> None:
        self._find(recurring)["status"] = "DISABLED"

    def enable_recurring_run(self, recurring: str) -> None:
        self._find(recurring)["status"] = "ENABLED"

    def delete_recurring_run(self, recurring: str) -> None:
        self.recurring.remove(self._find(recurring))
        self.runs = [run for run in self.runs if run["recurring_run_id"] != recurring]

    def _find(self, recurring: str) -> dict[str, Any]:
        return next(one for one in self.recurring if one["recurring_run_id"] == recurring)

    def states(self) -> dict[str, str]:
        return {one["recurring_run_id"]: one["status"] for one in self.recurring}


def open_recurring(kfp: KfpInMemory) -> RecurringRuns:
    return RecurringRuns(kfp, KfpTable(), "shop-schedule")


def replace(kfp: KfpInMemory, plan: SchedulePlan = PLAN) -> None:
    recurring = open_recurring(kfp)
    known = recurring.list()
    recurring.replace(known, plan, VERSION, "e")
    recurring.clean_up(known, kfp.runs)


def test_a_changed_schedule_keeps_the_old_one_disabled_while_its_run_waits_for_an_approval() -> None:
    kfp = KfpInMemory()
    replace(kfp)
    kfp.runs = [{"run_id": "r1", "recurring_run_id": "s1", "state": "RUNNING"}]
    replace(kfp, SchedulePlan(pipeline="retrain", cron="0 3 * * 1"))
    assert kfp.states() == {"s1": "DISABLED", "s2": "ENABLED"}
    assert [run["run_id"] for run in kfp.runs] == ["r1"], "the run goes on"
    kfp.runs[0]["state"] = "SUCCEEDED"
    recurring = open_recurring(kfp)
    recurring.clean_up(recurring.list()[1:], kfp.runs)
    assert kfp.states() == {"s2": "ENABLED"}


def test_a_schedule_is_not_removed_while_its_run_goes_on() -> None:
    kfp = KfpInMemory()
    replace(kfp)
    kfp.runs = [{"run_id": "r1", "recurring_run_id": "s1", "state": "RUNNING"}]
    with pytest.raises(StateError, match="run r1 of the schedule goes on"):
        open_recurring(kfp).remove(kfp.runs)
    assert kfp.states() == {"s1": "ENABLED"}
    kfp.runs[0]["state"] = "FAILED"
    assert open_recurring(kfp).remove(kfp.runs) == "removed"
    assert open_recurring(kfp).remove(kfp.runs) == "unchanged"


def test_pause_and_resume_change_only_the_newest_one_and_a_change_keeps_it_paused() -> None:
    kfp = KfpInMemory()
    with pytest.raises(StateError, match="no recurring run"):
        open_recurring(kfp).switch(paused=True)
    replace(kfp)
    kfp.runs = [{"run_id": "r1", "recurring_run_id": "s1", "state": "RUNNING"}]
    replace(kfp)
    assert [open_recurring(kfp).switch(paused=True) for _ in range(2)] == ["changed", "unchanged"]
    replace(kfp)
    assert set(kfp.states().values()) == {"DISABLED"}
    assert open_recurring(kfp).switch(paused=False) == "changed"
    assert [name for name, state in kfp.states().items() if state == "ENABLED"] == ["s3"]
    assert kfp.recurring[-1]["description"] == describe_plan(PLAN, VERSION.name)
