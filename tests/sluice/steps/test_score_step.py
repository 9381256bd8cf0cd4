"""The gate and the packaging load no model, and all steps of a run compare with the champion that the first step found."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import joblib
import pytest
from gate_project import GateProject

from sluice.data.snapshots import digest_file
from sluice.errors import IntegrityError, StateError
from sluice.gate.submitted_scores import read_submitted_scores
from sluice.release.model_layer import MODEL_FILE
from sluice.release.store.releases import ReleaseStore
from sluice.rollout.requests.statuses import read_status
from sluice.steps.champions import CHAMPION, read_champion_of_run
from sluice.steps.curves import measure_curves
from sluice.steps.layers import run_model_tests
from sluice.steps.ledgers import open_ledger
from sluice.steps.packaging import check_judged, package
from sluice.steps.records import PARTS_FOLDER, RUN_FOLDER_VARIABLE
from sluice.steps.snapshots import pin
from sluice.steps.training import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ABSENT = "sha256:" + "0" * 64
"""The digest of a release that nobody has. A step that looks for it fails, and so shows that it did."""


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run."""
    (folder / "run").mkdir()
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(folder / "run"))
    monkeypatch.setenv("SLUICE_DEBUG", "1")  # otherwise a step in a run ends its process
    return folder / "run"


def count(toy: GateProject) -> int:
    return len(open_ledger(toy.read()).read().questions())


class Hostile:
    """A model whose loading writes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.trace.touch, ())


def test_the_gate_decides_about_a_model_without_loading_it(toy: GateProject) -> None:
    honest, hostile, trace = toy.train("weak", ("b",)), toy.root / "hostile", toy.root / "loaded"
    joblib.dump(Hostile(trace), hostile)
    forged = dataclasses.replace(read_submitted_scores(toy.score(honest)), model=digest_file(hostile))
    forged.write(hostile.with_suffix(".scores"))
    assert not toy.decide(hostile, hostile.with_suffix(".scores")).passes
    assert not trace.exists()
    joblib.load(hostile)
    assert trace.exists(), "loading the model would have been noticed"


def test_a_model_is_packaged_without_loading_it(toy: GateProject) -> None:
    honest, hostile, trace = toy.train("weak", ("b",)), toy.root / "hostile", toy.root / "loaded"
    joblib.dump(Hostile(trace), hostile)
    digest = digest_file(hostile)
    dataclasses.replace(read_submitted_scores(toy.score(honest)), model=digest).write(hostile.with_suffix(".scores"))
    golden = json.loads(honest.with_suffix(".golden").read_text()) | {"model": digest}
    hostile.with_suffix(".golden").write_text(json.dumps(golden))
    answer = toy.decide(hostile, hostile.with_suffix(".scores"))
    measure_curves(str(honest), {"digest": digest_file(honest)}, str(toy.root / "curves.json"))
    release = toy.release(answer, curves=toy.root / "curves.json")
    assert (ReleaseStore(toy.read().state / "releases").unpack(release) / MODEL_FILE).read_bytes() == hostile.read_bytes()
    assert not trace.exists()
    joblib.load(hostile)
    assert trace.exists(), "loading the model would have been noticed"


def test_golden_rows_of_another_model_are_not_packaged(toy: GateProject) -> None:
    weak, good = toy.ask(toy.train("weak", ("b",))), toy.ask(toy.train("good", ("a", "b")))
    weak.model.with_suffix(".golden").write_bytes(good.model.with_suffix(".golden").read_bytes())
    with pytest.raises(IntegrityError, match="the golden rows are of the model"):
        toy.release(weak)


def test_scores_of_another_model_are_refused_before_a_question_is_counted(toy: GateProject) -> None:
    weak, good, before = toy.train("weak", ("b",)), toy.train("good", ("a", "b")), count(toy)
    with pytest.raises(IntegrityError, match="the scores of the gate rows are of the model"):
        toy.decide(weak, toy.score(good))
    weak.write_bytes(good.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match=f"has digest {digest_file(weak)}"):
        toy.score(weak, digest=digest_file(good))
    assert count(toy) == before


def test_a_champion_that_changed_after_the_scoring_is_refused_before_a_question_is_counted(folder: Path) -> None:
    toy = GateProject(folder)
    model, better = toy.train("weak", ("b",)), toy.train("better", ("a", "b"))
    scores, before = toy.score(model), toy.ask(better)
    toy.promote(before)
    with pytest.raises(StateError, match=r"compare with no champion, but now there is the champion .*the gate was not asked"):
        toy.decide(model, scores)
    assert count(toy) == 1
    assert not toy.decide(model, toy.score(model)).passes


def test_the_steps_of_a_run_compare_with_the_champion_that_its_first_step_found(toy: GateProject, run: Path) -> None:
    first = str(read_status(toy.read()).champion)
    metadata = pin("", toy.root / "snapshot")
    assert metadata[CHAMPION] == first
    trained = train(str(toy.root / "snapshot"), metadata, toy.root / "model")
    assert trained[CHAMPION] == first

    toy.promote(toy.ask(toy.train("next", ("a", "b"))))
    assert read_status(toy.read()).champion != first
    toy.read()
    measure_curves(str(toy.root / "model"), trained, str(toy.root / "curves"))
    assert json.loads((run / PARTS_FOLDER / "curves.json").read_text())["champion"] is not None
    assert read_submitted_scores(toy.score(toy.root / "model", champion=first)).champion == first


@pytest.fixture
def steps(toy: GateProject, run: Path) -> Callable[[str], dict[str, Callable[[], object]]]:
    """Return the steps that need no access to the cluster, as functions of the champion that an artifact names.

    The journal names another one, so a step that asked it would be noticed.
    """
    snapshot, model = toy.root / "snapshot", toy.root / "model"
    metadata = pin("", snapshot)
    digest = train(str(snapshot), metadata | {CHAMPION: ""}, model)["digest"]
    (toy.root / "tests" / "model").mkdir(parents=True)
    (toy.root / "tests" / "model" / "test_champion.py").write_text("def test_none(champion):\n    assert champion is None\n")

    def list_steps(champion: str) -> dict[str, Callable[[], object]]:
        named = {CHAMPION: champion}
        return {
            "train": lambda: train(str(snapshot), metadata | named, toy.root / "again"),
            "curves": lambda: measure_curves(str(model), {"digest": digest, **named}, str(toy.root / "curves")),
            "tests": lambda: run_model_tests({}, (str(model), {"digest": digest, **named}), str(toy.root / "curves")),
            "score": lambda: toy.score(model, **named),
        }

    return list_steps


def test_a_step_without_access_to_the_cluster_does_not_ask_the_journal(
    toy: GateProject, run: Path, steps: Callable[[str], dict[str, Callable[[], object]]]
) -> None:
    for step in steps("").values():
        step()
    assert json.loads((run / PARTS_FOLDER / "curves.json").read_text())["champion"] is None
    assert read_submitted_scores(toy.root / "model.scores").champion is None
    for step in steps(ABSENT).values():
        with pytest.raises(StateError, match="sha256:000000000000"):
            step()


def test_metadata_of_an_earlier_version_name_no_champion_so_the_journal_is_asked(toy: GateProject) -> None:
    project = toy.read()
    assert read_champion_of_run(project, {}).digest == read_status(project).champion
    assert read_champion_of_run(project, {CHAMPION: ""}) is None


def test_only_what_the_gate_judged_is_packaged(toy: GateProject) -> None:
    weak, champion = toy.ask(toy.train("weak", ("b",))), toy.root / "champion"
    metadata = {"digest": digest_file(champion), "snapshot_digest": ABSENT}
    with pytest.raises(IntegrityError, match="the gate judged the model"):
        package(str(champion), metadata, [], "", str(weak.model.with_suffix(".decision")), str(weak.scores), "")
    with pytest.raises(IntegrityError, match="the gate judged the scores"):
        package(str(champion), metadata, [], "", str(champion.with_suffix(".decision")), str(weak.scores), "")
    check_judged({}, model="m", scores="s")
    check_judged({"model": "m", "scores": "s"}, model="m", scores="s")
    with pytest.raises(IntegrityError, match="the gate judged the scores s, but the step got the scores other"):
        check_judged({"model": "m", "scores": "s"}, model="m", scores="other")
