"""Ordinary changes and honest mistakes around the gate do not fool it: each test is a story that once did."""

from __future__ import annotations

import json
import shutil
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pandas as pd
import pytest
from gate_project import GateProject

from sluice.data.holdout import open_holdout, read_holdout
from sluice.data.row_scores import read_row_scores
from sluice.engines.local.session import check_gate_inputs
from sluice.errors import ConfigurationError, DataError, RefusedError, StateError, UndecidedError
from sluice.rollout.requests.admission import check_gate, describe_override
from sluice.statistics.auc import estimate_auc
from sluice.steps.champions import read_champion
from sluice.steps.curves import champion_curves
from sluice.steps.ledgers import open_ledger, predict_power, read_gate_status
from sluice.steps.records import RUN_FOLDER_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path


def test_a_worse_model_is_kept_out_after_the_loader_orders_the_rows_otherwise(toy: GateProject) -> None:
    assert not toy.ask(toy.train("weak", ("b",))).passes
    toy.write_loader('.sort_values("a").reset_index(drop=True)')
    again = toy.ask(toy.train("weak again", ("b",), rows=pd.read_parquet(toy.root / "train.parquet")[500:]))
    assert (again.promote, again.uses) == (False, 3)


def test_the_stored_scores_of_the_champion_are_used_in_any_order_of_the_rows(
    toy: GateProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the champion was scored again")

    monkeypatch.setattr("sluice.steps.scoring.score_release", fail)
    toy.write_loader('.sort_values("b").reset_index(drop=True)')
    assert not toy.ask(toy.root / "champion").passes


def test_the_champion_is_scored_again_if_the_holdout_has_other_bytes(toy: GateProject) -> None:
    frame = pd.read_parquet(toy.root / "holdout.parquet")
    frame.assign(a=-frame["a"]).to_parquet(toy.root / "holdout.parquet")  # the same ids and labels, corrected features
    toy.configure()
    answer = toy.ask(toy.train("other", ("a", "b"), rows=frame.assign(a=-frame["a"])[:2_000]))
    assert (answer.promote, answer.uses) == (True, 2)  # the champion's stored scores would have kept it out
    assert answer.decision["difference"] > 0.3


def test_changed_feature_code_under_the_same_model_file_gets_its_own_answer(folder: Path) -> None:
    toy = GateProject(folder)
    toy.promote(toy.ask(toy.train("champion", ("b",))))
    promoted = toy.ask(toy.train("better", ("a", "b")))
    assert promoted.promote
    toy.write_features(" * -1")
    changed = toy.ask(promoted.model)
    assert (changed.decision["model"], changed.promote, changed.uses) == (promoted.decision["model"], False, 3)


def test_another_share_of_gate_rows_is_refused(toy: GateProject) -> None:
    toy.configure(fraction=0.95)
    with pytest.raises(StateError, match=r"first asked with data.gate_fraction 0.5, but now it is 0.95"):
        toy.ask(toy.root / "champion")


def test_the_stored_curves_of_the_champion_are_drawn_only_for_the_same_test_rows(toy: GateProject) -> None:
    def drawn_and_measured() -> tuple[float, float]:
        project = toy.read()
        rows = read_holdout(project, part="test")
        scores = joblib.load(toy.root / "champion").predict_proba(rows.features)[:, 1]
        return champion_curves(project, read_champion(project), rows)["roc"]["auc"], estimate_auc(rows.labels, scores).auc

    before, measured = drawn_and_measured()
    assert before == measured
    toy.configure(fraction=0.3)
    after, measured = drawn_and_measured()
    assert after == measured != before


@pytest.mark.parametrize("renamed", [False, True])
def test_the_same_rows_in_another_file_continue_the_budget(toy: GateProject, renamed: bool) -> None:
    before = toy.ask(toy.train("weak", ("b",)))
    name = "renamed.parquet" if renamed else "holdout.parquet"
    pd.read_parquet(toy.root / "holdout.parquet").sample(frac=1, random_state=1).to_parquet(toy.root / name, compression="gzip")
    toy.configure(holdout=name)
    assert toy.ask(before.model).uses == before.uses  # the same question
    assert toy.ask(toy.train("weaker", ("b",), rows=pd.read_parquet(toy.root / "train.parquet")[:500])).uses == before.uses + 1


@pytest.mark.parametrize(
    "tail",
    [
        ".assign(y=lambda frame: frame.y.where(frame.b < 1, 1))",  # the labels
        ".head(2_000)",  # the rows
        '.query("b < 1")',
        ".assign(id=lambda frame: frame.id + 7 * 10**6)",  # the ids
    ],
)
def test_a_loader_that_reads_other_rows_from_the_same_file_is_refused_until_a_person_accepts(toy: GateProject, tail: str) -> None:
    weak = toy.ask(toy.train("weak", ("b",)))
    toy.write_loader(tail)
    asks = SimpleNamespace(pipeline_spec=SimpleNamespace(components={"comp-gate": {}}))
    for use in (lambda: toy.ask(weak.model), lambda: check_gate_inputs(toy.read(), asks)):
        with pytest.raises(StateError, match=r"reads other rows or labels .*, and before 4,000 and ") as refused:
            use()
        assert "sluice gate accept-rows" in refused.value.hint
    holdout = open_holdout(toy.read())
    accepted = {"holdout": holdout.digest, "by": "ada", "why": "these labels were wrong", "at": time.time()}
    open_ledger(toy.read()).accept_rows(holdout.row_set, **accepted)
    with pytest.raises(StateError, match="nothing to accept"):
        open_ledger(toy.read()).accept_rows(holdout.row_set, **accepted)
    assert toy.ask(toy.root / "champion").uses == 3  # the two questions before still count
    toy.write_loader("")
    assert toy.ask(weak.model).uses == weak.uses


def test_a_deleted_ledger_is_refused_and_the_way_out_gives_up_the_rows(toy: GateProject) -> None:
    toy.ask(toy.train("weak", ("b",)))
    project = toy.read()
    shutil.rmtree(project.state / "ledger")
    for use in (lambda: toy.ask(toy.root / "weak"), lambda: read_gate_status(project, now=time.time())):
        with pytest.raises(StateError, match="was deleted, shortened or replaced") as refused:
            use()
        assert "confirm-loss" in refused.value.hint
    holdout = open_holdout(project)
    head = toy.releases.list()[-1].manifest["gate"]["ledger_head"]
    lost = {"champion": "the champion", "holdout": holdout.digest, "by": "ada", "why": "disk", "at": time.time()}
    assert open_ledger(project).confirm_loss(holdout.row_set, [head], **lost) == ("loss",)
    with pytest.raises(UndecidedError, match="is spent"):
        toy.ask(toy.root / "weak")


def test_without_the_rollout_journal_no_worse_model_becomes_the_first_champion(toy: GateProject) -> None:
    champion = toy.releases.list()[-1].digest
    weak = toy.ask(toy.train("weak", ("b",)))
    assert not weak.passes
    weaker = toy.train("weaker", ("b",), rows=pd.read_parquet(toy.root / "train.parquet")[:500])
    project, message = toy.read(), f"knows the champion {champion[:19]}, but the rollout journal names none"
    shutil.rmtree(project.state / "rollout")
    for model in (weak.model, toy.root / "champion", weaker):
        with pytest.raises(StateError, match=message) as refused:
            toy.ask(model)
        assert "confirm-loss" in refused.value.hint
    status = read_gate_status(project, now=time.time())
    assert status.refusal == {"message": refused.value.message, "hint": refused.value.hint}
    holdout = open_holdout(project)
    lost = {"champion": None, "holdout": holdout.digest, "by": "ada", "why": "disk", "at": time.time()}
    assert open_ledger(project).confirm_loss(holdout.row_set, [], **lost) == ("champion-loss",)
    again = toy.ask(weak.model)
    assert (again.promote, again.decision["unproven"]) == (True, True)
    with pytest.raises(StateError, match="nothing is lost"):
        open_ledger(project).confirm_loss(holdout.row_set, [], **lost)


def test_a_first_model_that_was_never_rolled_out_can_be_followed_by_another_first_model(folder: Path) -> None:
    toy = GateProject(folder)
    assert [toy.ask(toy.train(name, columns)).passes for name, columns in (("one", ("b",)), ("two", ("a",)))] == [True, True]


def test_a_shortened_ledger_that_contains_the_champions_question_is_refused(toy: GateProject) -> None:
    ledger = toy.read().state / "ledger"
    kept = (ledger / "ledger.json").read_text()
    weak = toy.ask(toy.train("weak", ("b",)))
    (ledger / "ledger.json").write_text(kept)
    (ledger / "ledger.lock").unlink()
    with pytest.raises(StateError, match="replaced by an older copy"):
        toy.ask(weak.model)


def test_a_spent_budget_ends_the_step_without_a_decision_and_records_why(folder: Path) -> None:
    toy = GateProject(folder)
    toy.configure(budget=2)
    toy.promote(toy.ask(toy.train("champion", ("b",))))
    assert json.loads((folder / "champion.decision").read_text())["left"] == 1
    assert not toy.ask(toy.train("weak", ("b",), rows=pd.read_parquet(folder / "train.parquet")[:500])).passes
    with pytest.raises(UndecidedError, match="budget of 2 questions is spent") as refused:
        toy.ask(toy.train("good", ("a", "b")))
    assert refused.value.exit_code == 4
    assert "sluice gate override sha256:" in refused.value.hint
    decision = json.loads((folder / "good.decision").read_text())
    assert (decision["verdict"]["outcome"], decision["left"], decision["uses"]) == ("inconclusive", 0, 2)
    status = read_gate_status(toy.read(), now=time.time())
    assert (status.used, status.left, len(status.questions)) == (2, 0, 2)
    assert "is spent" in status.warnings[0]
    asks = SimpleNamespace(pipeline_spec=SimpleNamespace(components={"comp-gate": {}}))
    assert check_gate_inputs(toy.read(), asks) == status.warnings


def test_each_use_says_what_is_left_and_warns_before_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(folder))
    toy = GateProject(folder)
    toy.configure(budget=5)
    toy.promote(toy.ask(toy.train("champion", ("a", "b"))))
    train = pd.read_parquet(folder / "train.parquet")
    for number in range(3):
        toy.ask(toy.train(f"weak {number}", ("b",), rows=train[: 500 + number]))
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    details = [event["detail"] for event in events if (event["step"], event["event"]) == ("gate", "ended")]
    assert [f"{used} of 5 questions used, {5 - used} left" in detail for used, detail in enumerate(details, 1)] == [True] * 4
    assert ["`sluice gate status` says how to get more" in detail for detail in details] == [False, False, False, True]


def test_an_override_lets_one_model_pass_and_keeps_the_gates_answer(folder: Path) -> None:
    toy = GateProject(folder)
    toy.configure(budget=2)
    toy.promote(toy.ask(toy.train("champion", ("a", "b"))))
    kept = toy.ask(toy.train("weak", ("b",)))
    assert not kept.passes
    now = time.time()
    ledger = open_ledger(toy.read())
    scores = ledger.read().find_scores(kept.decision["model"])
    assert scores == kept.decision["scores"]
    ledger.override(kept.decision["model"], scores, by="ada", why="the column a is wrong since Monday", until=now + 3600, at=now)
    passed = toy.ask(kept.model)
    assert (passed.passes, passed.promote, passed.uses, passed.decision["verdict"]["outcome"]) == (True, False, 2, "fail")
    release = toy.release(passed)
    manifest = toy.releases.get(release).manifest
    assert (manifest["gate"]["promote"], manifest["gate"]["override"]["by"]) == (False, "ada")
    assert "the champion stays" in describe_override(manifest)
    assert "ada let the model pass the gate until" in describe_override(manifest)
    check_gate(toy.read(), release)
    with pytest.raises(UndecidedError):  # another model does not pass, and an override does not undo a spent budget
        toy.ask(toy.train("other", ("a",)))
    other = json.loads((folder / "other.decision").read_text())
    ledger.override(other["model"], other["scores"], by="ada", why="it is needed", until=now + 3600, at=now)
    assert toy.ask(folder / "other").passes


def test_an_expired_override_and_one_of_another_model_have_no_effect(toy: GateProject, monkeypatch: pytest.MonkeyPatch) -> None:
    weak = toy.ask(toy.train("weak", ("b",)))
    now = time.time()
    ledger = open_ledger(toy.read())
    scores = weak.decision["scores"]
    ledger.override(weak.decision["model"], scores, by="ada", why="it was needed", until=now - 1, at=now - 60)
    ledger.override("sha256:" + "1" * 64, scores, by="ada", why="it is needed", until=now + 3600, at=now)
    assert not toy.ask(weak.model).passes
    ledger.override(weak.decision["model"], scores, by="ada", why="it is needed", until=now + 3600, at=now)
    release = toy.release(toy.ask(weak.model))
    check_gate(toy.read(), release)
    later = now + 7200
    monkeypatch.setattr("sluice.rollout.requests.admission.time.time", lambda: later)
    with pytest.raises(RefusedError, match="the override by ada has expired"):
        check_gate(toy.read(), release)


def test_an_override_does_not_hold_for_the_same_model_file_with_other_feature_code(toy: GateProject) -> None:
    weak = toy.ask(toy.train("weak", ("b",)))
    now = time.time()
    model, scores = weak.decision["model"], weak.decision["scores"]
    open_ledger(toy.read()).override(model, scores, by="ada", why="it is needed", until=now + 3600, at=now)
    assert toy.ask(weak.model).passes
    toy.write_features(" * -1")
    changed = toy.ask(weak.model)
    assert (changed.decision["model"], changed.passes, changed.decision["override"]) == (model, False, None)
    assert changed.decision["scores"] != scores


def test_a_model_that_drops_a_row_is_an_error_before_a_question_is_counted(toy: GateProject) -> None:
    class Short:
        def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
            return np.full((len(frame) - 1, 2), 0.5)

    globals()["Short"] = Short
    Short.__qualname__ = "Short"
    joblib.dump(Short(), toy.root / "short")
    with pytest.raises(DataError, match="rows"):
        toy.ask(toy.root / "short")
    assert len(open_ledger(toy.read()).read().questions()) == 1


@pytest.mark.parametrize("missing", ["toy", "lock.txt"])
def test_a_model_that_cannot_be_packaged_uses_no_question(toy: GateProject, missing: str) -> None:
    model = toy.train("next", ("a",))
    text = (toy.root / "sluice.toml").read_text()
    broken = (
        text.replace('packages = ["toy"]', 'packages = ["toi"]') if missing == "toy" else text.replace(missing, "no-lock.txt")
    )
    (toy.root / "sluice.toml").write_text(broken)
    with pytest.raises(ConfigurationError, match=r"project\.packages names|serving\.lock names"):
        toy.ask(model)
    assert len(open_ledger(toy.read()).read().questions()) == 1


def test_what_the_gate_cannot_use_is_found_before_the_training(toy: GateProject) -> None:
    asks = SimpleNamespace(pipeline_spec=SimpleNamespace(components={"comp-gate": {}}))
    other = SimpleNamespace(pipeline_spec=SimpleNamespace(components={"comp-train": {}}))
    assert check_gate_inputs(toy.read(), asks) == []
    shutil.rmtree(toy.read().state / "ledger")
    with pytest.raises(StateError, match="was deleted, shortened or replaced"):
        check_gate_inputs(toy.read(), asks)
    (toy.root / "holdout.parquet").unlink()
    with pytest.raises(DataError, match=r"holdout\.parquet"):
        check_gate_inputs(toy.read(), asks)
    (toy.root / "lock.txt").unlink()
    with pytest.raises(ConfigurationError, match=r"serving\.lock"):
        check_gate_inputs(toy.read(), asks)
    assert check_gate_inputs(toy.read(), other) == []


@pytest.mark.parametrize("change", [{"budget": 60}, {"fraction": 0.6}])
def test_a_changed_rule_is_refused_before_the_training_and_the_status_says_so(toy: GateProject, change: dict[str, float]) -> None:
    asks = SimpleNamespace(pipeline_spec=SimpleNamespace(components={"comp-gate": {}}))
    toy.configure(**change)
    with pytest.raises(StateError, match=r"this holdout was first asked with .*, but now") as refused:
        check_gate_inputs(toy.read(), asks)
    status = read_gate_status(toy.read(), now=time.time())
    assert status.refusal["message"] == refused.value.message
    assert refused.value.message in status.warnings[0]
    toy.configure()
    assert check_gate_inputs(toy.read(), asks) == []


def test_too_few_positive_rows_are_undecided_and_the_preflight_refuses_before(folder: Path) -> None:
    toy = GateProject(folder, rows=1_000, share=0.04)
    power = predict_power(toy.read())
    assert (power.positives < 30, power.detectable) == (True, None)
    assert "needs 30 gate rows of each class" in power.describe()
    asks = SimpleNamespace(pipeline_spec=SimpleNamespace(components={"comp-gate": {}}))
    with pytest.raises(DataError, match=f"has {power.positives} gate rows with y = 1, but at least 30 are needed"):
        check_gate_inputs(toy.read(), asks)
    toy.promote(toy.ask(toy.train("champion", ("b",))))
    with pytest.raises(UndecidedError, match=f"the smaller class has {power.positives} gate rows and the gate needs 30"):
        toy.ask(toy.train("good", ("a", "b")))
    assert len(open_ledger(toy.read()).read().questions()) == 1


def test_the_first_run_says_what_the_gate_can_see_and_two_releases_measure_it(folder: Path) -> None:
    toy = GateProject(folder)
    first = toy.ask(toy.train("champion", ("b",)))
    assert "This assumes models with an AUC of 0.85" in first.decision["power"]
    toy.promote(first)
    toy.promote(toy.ask(toy.train("better", ("a", "b"))))
    power = predict_power(toy.read())
    assert power.measured
    assert power.standard_error > 0
    scores = read_row_scores(folder / "better.scores")
    assert power.rows == len(scores.scores)
