"""The gate's step signs what it decides, and packaging carries that into the release, without being able to change it."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from gate_project import GateProject
from release_project import make_key

from sluice.engines.local.session import check_gate_inputs
from sluice.errors import ConfigurationError, UndecidedError
from sluice.release import gate_statements, provenance
from sluice.release.envelopes import read_public_keys, verify_envelope
from sluice.release.trust_rules import TrustKeys, find_refusal
from sluice.steps.before_training.keys import check_signing_secrets
from sluice.steps.before_training.requirements import check_project
from sluice.steps.ledgers import open_ledger
from sluice.steps.records import RUN_FOLDER_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.release.trust_rules import ReleaseDocuments

TRUST = '[trust]\ngate_keys = ["gate.pub"]\nprovenance_keys = ["image.pub"]\n'


class SignedProject(GateProject):
    """A project with keys. Each step has only its own private key."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(root)
        self.monkeypatch = monkeypatch
        self.private = {name: make_key(root, name)[0] for name in ("gate", "image")}
        self.trust()

    def trust(self) -> None:
        (self.root / "sluice.toml").write_text((self.root / "sluice.toml").read_text() + TRUST)

    def decide(self, model: Path, scores: Path) -> Any:
        with self.monkeypatch.context() as patch:
            patch.setenv(gate_statements.KEY_VARIABLE, str(self.private["gate"]))
            return super().decide(model, scores)

    def release(self, answer: Any) -> str:
        with self.monkeypatch.context() as patch:
            patch.setenv(provenance.KEY_VARIABLE, str(self.private["image"]))
            return super().release(answer)

    @property
    def gate_keys(self) -> Any:
        return read_public_keys([self.root / "gate.pub"])

    def find_refusal(self, release: str) -> str:
        keys = TrustKeys(gate=self.gate_keys, provenance=read_public_keys([self.root / "image.pub"]))
        documents = self.releases.read_documents(release)
        return self.judge(documents, keys, now=time.time())

    def judge(self, documents: ReleaseDocuments, keys: TrustKeys, *, now: float) -> str:
        asked = documents.manifest["gate"].get("ledger_head") or ""
        return find_refusal(documents, keys, release=documents.release, ledger_head=asked, project="toy", now=now)


@pytest.fixture
def toy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SignedProject:
    found = SignedProject(folder, monkeypatch)
    found.promote(found.ask(found.train("champion", ("a",))))
    return found


def test_a_promoted_release_carries_the_gates_signed_decision(toy: SignedProject) -> None:
    answer = toy.ask(toy.train("better", ("a", "b")))
    champion = toy.releases.get("1").digest
    release = toy.release(answer)
    assert toy.find_refusal(release) == ""
    gate = toy.releases.get(release).manifest["gate"]
    statement = verify_envelope(gate["envelope"], toy.gate_keys, "it")
    assert statement["predicateType"] == "urn:sluice:gate-decision:v1"
    assert statement["subject"] == [{"name": "toy/model.joblib", "digest": {"sha256": answer.decision["model"][7:]}}]
    predicate = statement["predicate"]
    assert (predicate["project"], predicate["champion"]) == ("toy", champion)
    assert predicate["holdout"] == toy.read().settings.data.holdout_digest
    assert predicate["answer"]["promote"] is True
    assert predicate["answer"]["ledger_head"] == open_ledger(toy.read()).read().questions()[-1].link
    verdict = predicate["answer"]["verdict"]
    assert verdict["interval"]["low"] > 0
    assert verdict["threshold"] == 0.005
    assert (
        verify_envelope(toy.releases.get("1").manifest["gate"]["envelope"], toy.gate_keys, "it")["predicate"]["champion"] is None
    )


def test_the_record_of_the_run_has_the_answer_without_the_envelope(toy: SignedProject, monkeypatch: pytest.MonkeyPatch) -> None:
    (toy.root / "run").mkdir()
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, str(toy.root / "run"))
    answer = toy.ask(toy.train("better", ("a", "b")))
    recorded = json.loads((toy.root / "run" / "parts" / "gate.json").read_text())
    assert recorded == {key: value for key, value in answer.decision.items() if key != "envelope"}
    assert recorded["promote"] is True


def test_the_same_question_gives_the_same_envelope_and_the_same_release(toy: SignedProject) -> None:
    first = toy.ask(toy.train("better", ("a", "b")))
    release = toy.release(first)
    again = toy.ask(first.model)
    assert again.decision["envelope"] == first.decision["envelope"]
    assert toy.release(again) == release


def test_a_signed_no_keeps_the_numbers_secret(toy: SignedProject) -> None:
    kept = toy.ask(toy.train("weak", ("b",)))
    answer = verify_envelope(kept.decision["envelope"], toy.gate_keys, "it")["predicate"]["answer"]
    assert (answer["promote"], answer["difference"], answer["lower_bound"]) == (False, None, None)
    assert (answer["verdict"].get("observed"), answer["verdict"].get("interval")) == (None, None)


def test_packaging_cannot_turn_a_no_into_a_promotion(toy: SignedProject) -> None:
    kept = toy.ask(toy.train("weak", ("b",)))
    file = kept.model.with_suffix(".decision")
    file.write_text(json.dumps(kept.decision | {"promote": True}))
    assert toy.find_refusal(toy.release(kept)) == "its manifest says something else about the gate than what the gate has signed"
    file.write_text(json.dumps({"promote": True, "reason": "forged"}))
    assert toy.find_refusal(toy.release(kept)) == "its manifest contains no signed decision of the gate"


def test_an_override_is_signed_by_the_gate_and_not_by_the_person(toy: SignedProject) -> None:
    weak = toy.ask(toy.train("weak", ("b",)))
    now = time.time()
    model, scores = weak.decision["model"], weak.decision["scores"]
    open_ledger(toy.read()).override(model, scores, by="ada", why="the column a is wrong", until=now + 3600, at=now)
    passed = toy.ask(weak.model)
    assert passed.passes
    release = toy.release(passed)
    assert toy.find_refusal(release) == ""
    documents = toy.releases.read_documents(release)
    keys = TrustKeys(gate=toy.gate_keys)
    later = toy.judge(documents, keys, now=now + 7200)
    assert later == "the gate did not promote this model, and its override is not valid now"
    file = weak.model.with_suffix(".decision")
    file.write_text(json.dumps(passed.decision | {"override": passed.decision["override"] | {"until": now + 10**6}}))
    assert "something else about the gate" in toy.find_refusal(toy.release(passed))


def test_an_override_of_a_question_that_was_never_recorded_is_signed_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = SignedProject(folder, monkeypatch)
    toy.configure(budget=1)
    toy.trust()
    toy.promote(toy.ask(toy.train("champion", ("a",))))
    with pytest.raises(UndecidedError):
        toy.ask(toy.train("other", ("a", "b")))
    answer = json.loads((folder / "other.decision").read_text())
    assert "envelope" not in answer, "nothing was decided"
    now = time.time()
    open_ledger(toy.read()).override(answer["model"], answer["scores"], by="ada", why="it is needed", until=now + 3600, at=now)
    assert toy.find_refusal(toy.release(toy.ask(folder / "other"))) == ""


def test_without_its_key_the_gate_is_not_asked_and_nothing_is_packaged(toy: SignedProject) -> None:
    model = toy.train("better", ("a", "b"))
    scores = toy.score(model)
    before = open_ledger(toy.read()).read()
    with pytest.raises(ConfigurationError, match=r"\$SLUICE_GATE_KEY is not set"):
        GateProject.decide(toy, model, scores)
    assert open_ledger(toy.read()).read() == before, "no question was spent"
    answer = toy.decide(model, scores)
    with pytest.raises(ConfigurationError, match=r"\$SLUICE_SIGNING_KEY is not set"):
        GateProject.release(toy, answer)
    assert len(toy.releases.list()) == 1


PIPELINE = SimpleNamespace(pipeline_spec=SimpleNamespace(components={"comp-gate": {}, "comp-package": {}}))


def test_a_run_stops_before_the_training_if_a_private_key_is_missing(toy: SignedProject) -> None:
    with pytest.raises(ConfigurationError, match=r"\$SLUICE_GATE_KEY is not set"):
        check_gate_inputs(toy.read(), PIPELINE)
    toy.monkeypatch.setenv(gate_statements.KEY_VARIABLE, str(toy.private["gate"]))
    with pytest.raises(ConfigurationError, match=r"\$SLUICE_SIGNING_KEY is not set"):
        check_gate_inputs(toy.read(), PIPELINE)
    toy.monkeypatch.setenv(provenance.KEY_VARIABLE, str(toy.private["image"]))
    check_gate_inputs(toy.read(), PIPELINE)


def test_the_first_step_in_a_pod_fails_if_a_later_step_must_sign_and_no_secret_is_named(toy: SignedProject) -> None:
    toy.monkeypatch.setenv("SLUICE_EPHEMERAL", "1")
    toy.monkeypatch.setenv("SLUICE_SERVING__REPOSITORY", "registry.example.com/toy")
    toy.monkeypatch.setenv("SLUICE_GATE__CONFIG_MAP", "pipelines/ledger")
    with pytest.raises(ConfigurationError, match=r"trust\.gate_keys requires that the step `gate` signs"):
        check_project(toy.read())
    toy.monkeypatch.setenv("SLUICE_ARGO__SIGNING_SECRETS", '{"gate": "sluice-gate-key"}')
    with pytest.raises(ConfigurationError, match=r"trust\.provenance_keys requires that the step `package` signs"):
        check_project(toy.read())
    toy.monkeypatch.setenv("SLUICE_STEPS__ENV", '{"SLUICE_SIGNING_KEY": "/mounted/by/the/pipeline.pem"}')
    check_signing_secrets(toy.read())
