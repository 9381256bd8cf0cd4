"""Each thing that an attacker could do with the documents of a release is refused, with its own reason."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from release_project import make_key

from sluice.release import gate_statements, provenance
from sluice.release.envelopes import plan_statement, read_public_keys, read_signing_key, sign_statement
from sluice.release.trust_rules import ReleaseDocuments, TrustKeys, find_refusal

if TYPE_CHECKING:
    from pathlib import Path

LAYER, IMAGE, MODEL, OTHER = (f"sha256:{digit * 64}" for digit in "1234")
NOW = 1_800_000_000.0
ANSWER = {
    "promote": True,
    "verdict": {"outcome": "pass", "observed": 0.02, "interval": {"low": 0.01, "high": 0.03}, "threshold": 0.005},
    "ledger_head": OTHER,
    "model": MODEL,
    "scores": "sha256:5",
    "override": None,
}
OVERRIDE = {"model": MODEL, "scores": "sha256:5", "by": "ada", "why": "a fix", "at": NOW - 10, "until": NOW + 10}


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    return {name: make_key(tmp_path, name) for name in ("gate", "provenance", "old", "stranger")}


@pytest.fixture
def keys(pairs: dict[str, tuple[Path, Path]]) -> TrustKeys:
    """The keys while both are being replaced: an old one is still accepted."""
    found = {name: read_public_keys([public]) for name, (_, public) in pairs.items()}
    return TrustKeys(gate=found["old"] + found["gate"], provenance=found["old"] + found["provenance"])


class Author:
    """Makes the documents of releases, with any key."""

    def __init__(self, pairs: dict[str, tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch) -> None:
        self.pairs, self.monkeypatch = pairs, monkeypatch

    def sign_gate(self, answer: dict[str, Any], *, key: str = "gate", project: str = "p") -> dict[str, Any]:
        self.monkeypatch.setenv(gate_statements.KEY_VARIABLE, str(self.pairs[key][0]))
        return gate_statements.sign_answer(answer, project=project, champion=OTHER, holdout=OTHER, at=NOW)

    def sign(self, statement: dict[str, Any], key: str = "gate") -> dict[str, Any]:
        self.monkeypatch.setenv("KEY", str(self.pairs[key][0]))
        return sign_statement(statement, read_signing_key("KEY"))

    def sign_image(self, gate: object, *, key: str = "provenance", layer: str = LAYER, image: str = IMAGE) -> dict[str, Any]:
        self.monkeypatch.setenv(provenance.KEY_VARIABLE, str(self.pairs[key][0]))
        return provenance.sign_provenance(manifest(gate), digest=layer, image_digest=image)

    def documents(self, gate: object = None, **changes: Any) -> ReleaseDocuments:
        gate = self.sign_gate(ANSWER) if gate is None else gate
        attached = changes.pop("provenance", [self.sign_image(gate)])
        found = ReleaseDocuments(release=LAYER, image=IMAGE, model=MODEL, manifest=manifest(gate), provenance=attached)
        return dataclasses.replace(found, **changes)


@pytest.fixture
def author(pairs: dict[str, tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch) -> Author:
    return Author(pairs, monkeypatch)


def manifest(gate: object) -> dict[str, Any]:
    return {
        "project": "p",
        "code": {"commit": "", "dirty": False},
        "model": {"digest": MODEL, "build": "a:b", "parameters": {}},
        "data": {"snapshot_digest": OTHER, "holdout_digest": OTHER},
        "environment": {"lock_digest": OTHER, "fingerprint": {}},
        "gate": gate,
        "verdicts": {},
        "parent": None,
    }


def judge(documents: ReleaseDocuments, keys: TrustKeys, *, project: str = "p", now: float = NOW, ledger_head: str = OTHER) -> str:
    return find_refusal(documents, keys, release=LAYER, ledger_head=ledger_head, project=project, now=now)


def test_a_release_that_both_keys_signed_may_take_traffic(author: Author, keys: TrustKeys) -> None:
    documents = author.documents()
    assert judge(documents, keys) == ""
    assert judge(documents, TrustKeys(gate=keys.gate)) == ""
    assert judge(documents, TrustKeys(provenance=keys.provenance)) == ""


def test_while_a_key_is_replaced_both_keys_are_accepted(author: Author, keys: TrustKeys) -> None:
    gate = author.sign_gate(ANSWER, key="old")
    assert judge(author.documents(gate, provenance=[author.sign_image(gate, key="old")]), keys) == ""


def test_without_keys_nothing_is_required_but_the_right_layer(author: Author) -> None:
    documents = author.documents(gate={"promote": True}, provenance=[])
    assert judge(documents, TrustKeys()) == ""
    assert judge(dataclasses.replace(documents, release=OTHER), TrustKeys()).startswith("its image contains the model layer")


@pytest.mark.parametrize("gate", [None, {}, "promote", {"promote": True, "reason": "forged"}, {**ANSWER}])
def test_a_promotion_that_only_the_manifest_claims_is_refused(author: Author, keys: TrustKeys, gate: object) -> None:
    documents = author.documents(gate={} if gate is None else gate)
    assert judge(documents, keys) == "its manifest contains no signed decision of the gate"


def test_an_unsigned_statement_is_refused(author: Author, keys: TrustKeys) -> None:
    statement = gate_statements.plan_gate_statement(ANSWER, project="p", champion=OTHER, holdout=OTHER, at=NOW)
    for envelope in (statement, {**author.sign(statement), "signatures": []}, "text", None):
        documents = author.documents(gate={**ANSWER, "envelope": envelope})
        assert judge(documents, keys) == "the gate's decision is not signed"


def test_a_decision_signed_by_another_key_is_refused(author: Author, keys: TrustKeys) -> None:
    refusal = judge(author.documents(gate=author.sign_gate(ANSWER, key="stranger")), keys)
    assert "the gate's decision has no valid signature by the keys" in refusal
    assert "another key signed it" in refusal


def test_the_key_of_the_provenance_cannot_sign_for_the_gate(author: Author, keys: TrustKeys) -> None:
    assert "another key signed it" in judge(author.documents(gate=author.sign_gate(ANSWER, key="provenance")), keys)


def test_a_changed_payload_is_refused(author: Author, keys: TrustKeys) -> None:
    gate = copy.deepcopy(author.sign_gate({**ANSWER, "promote": False}))
    payload = base64.b64decode(gate["envelope"]["payload"]).replace(b'"promote":false', b'"promote":true')
    gate["envelope"]["payload"] = base64.b64encode(payload).decode()
    refusal = judge(author.documents(gate={**gate, "promote": True}), keys)
    assert "the gate's decision was changed after it was signed" in refusal


@pytest.mark.parametrize("change", [{"payload": "***"}, {"signatures": [5]}, {"signatures": [{}]}, {"payloadType": "text/plain"}])
def test_what_is_no_envelope_is_refused(author: Author, keys: TrustKeys, change: dict[str, Any]) -> None:
    gate = author.sign_gate(ANSWER)
    refusal = judge(author.documents(gate={**gate, "envelope": gate["envelope"] | change}), keys)
    assert "is not a DSSE envelope" in refusal or "was changed after it was signed" in refusal


def test_another_type_of_statement_is_refused_even_if_the_gate_signed_it(author: Author, keys: TrustKeys) -> None:
    predicate = {"project": "p", "answer": ANSWER}
    envelope = author.sign(plan_statement("https://slsa.dev/provenance/v1", [("m", MODEL)], predicate))
    refusal = judge(author.documents(gate={**ANSWER, "envelope": envelope}), keys)
    assert refusal == (
        "the gate's decision is a statement of the type 'https://slsa.dev/provenance/v1', and not 'urn:sluice:gate-decision:v1'"
    )


def test_a_decision_about_another_model_is_refused(author: Author, keys: TrustKeys) -> None:
    refusal = judge(author.documents(gate=author.sign_gate({**ANSWER, "model": OTHER})), keys)
    assert refusal == f"the gate's decision is about {OTHER[:19]}, and the model is {MODEL[:19]}"


def test_another_model_file_under_a_signed_digest_is_refused(author: Author, keys: TrustKeys) -> None:
    refusal = judge(author.documents(model=OTHER), TrustKeys(gate=keys.gate))
    assert refusal == f"its manifest names the model {MODEL[:19]}, but the model in it is {OTHER[:19]}"


def test_a_decision_about_another_project_is_refused(author: Author, keys: TrustKeys) -> None:
    assert judge(author.documents(), keys, project="q") == "the gate's decision is about the project 'p', and not about 'q'"


@pytest.mark.parametrize(
    ("named", "said"), [("", "no question of the gate's ledger"), (MODEL, f"the question {MODEL} of the gate's ledger")]
)
def test_a_request_that_names_another_question_than_the_gate_signed_is_refused(
    author: Author, keys: TrustKeys, named: str, said: str
) -> None:
    """The rollout journal keeps the question, and by it the gate finds that questions were removed from its ledger."""
    refusal = judge(author.documents(), keys, ledger_head=named)
    assert refusal == f"the request names {said}, and the gate has signed {OTHER}"
    assert judge(author.documents(), TrustKeys(provenance=keys.provenance), ledger_head=named) == ""


@pytest.mark.parametrize("changed", [{"promote": False}, {"ledger_head": "sha256:6"}, {"verdict": {}}, {"unproven": False}])
def test_a_manifest_that_says_something_else_than_the_gate_is_refused(
    author: Author, keys: TrustKeys, changed: dict[str, Any]
) -> None:
    refusal = judge(author.documents(gate=author.sign_gate(ANSWER) | changed), keys)
    assert refusal == "its manifest says something else about the gate than what the gate has signed"


def test_a_signed_no_is_refused(author: Author, keys: TrustKeys) -> None:
    refusal = judge(author.documents(gate=author.sign_gate({**ANSWER, "promote": False})), keys)
    assert refusal == "the gate did not promote this model, and nobody overrode it"


def test_a_signed_override_lets_a_model_pass_until_it_expires(author: Author, keys: TrustKeys) -> None:
    documents = author.documents(gate=author.sign_gate({**ANSWER, "promote": False, "override": OVERRIDE}))
    assert judge(documents, keys) == ""
    for now in (NOW - 11, NOW + 10):
        assert judge(documents, keys, now=now) == "the gate did not promote this model, and its override is not valid now"
    others = author.sign_gate({**ANSWER, "promote": False, "override": OVERRIDE | {"scores": "sha256:6"}})
    assert "its override is not valid now" in judge(author.documents(gate=others), keys)


def test_an_override_that_the_gate_did_not_sign_is_refused(author: Author, keys: TrustKeys) -> None:
    gate = author.sign_gate({**ANSWER, "promote": False}) | {"override": OVERRIDE}
    refusal = judge(author.documents(gate=gate), keys)
    assert refusal == "its manifest says something else about the gate than what the gate has signed"


def test_a_release_without_a_provenance_is_refused(author: Author, keys: TrustKeys) -> None:
    assert judge(author.documents(provenance=[]), keys) == "it has no provenance"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"layer": OTHER}, f"the provenance is about another model layer than {LAYER[:19]}"),
        ({"image": OTHER}, f"the provenance is about another image than {IMAGE[:19]}"),
        ({"key": "stranger"}, "another key signed it"),
        ({"key": "gate"}, "another key signed it"),
    ],
)
def test_a_provenance_of_something_else_or_by_another_key_is_refused(
    author: Author, keys: TrustKeys, changed: dict[str, str], reason: str
) -> None:
    gate = author.sign_gate(ANSWER)
    documents = author.documents(gate, provenance=[author.sign_image(gate, **changed)])
    assert reason in judge(documents, keys)
    valid = author.sign_image(gate)
    assert judge(dataclasses.replace(documents, provenance=[*documents.provenance, valid]), keys) == "", "one valid is enough"


def test_a_provenance_of_another_type_or_without_a_signature_is_refused(author: Author, keys: TrustKeys) -> None:
    gate = author.sign_gate(ANSWER)
    subjects = [("layer", LAYER), ("image", IMAGE)]
    other = author.sign(plan_statement(gate_statements.PREDICATE_TYPE, subjects, {}), "provenance")
    plain = provenance.plan_statement(manifest(gate), digest=LAYER, image_digest=IMAGE)
    refusal = judge(author.documents(gate, provenance=[other, plain, 5]), keys)
    assert "the provenance is a statement of the type 'urn:sluice:gate-decision:v1'" in refusal
    assert "the provenance is not signed" in refusal


@pytest.mark.parametrize("broken", [{}, {"model": None}, {"model": {"digest": MODEL}, "gate": {"envelope": {"signatures": 1}}}])
def test_documents_of_any_shape_are_refused_and_not_an_error(keys: TrustKeys, broken: dict[str, Any]) -> None:
    documents = ReleaseDocuments(release=LAYER, image=IMAGE, model=MODEL, manifest=broken)
    assert judge(documents, keys)


@pytest.mark.parametrize("predicate", [{}, {"project": "p"}, {"project": "p", "answer": 5}, {"project": "p", "answer": {}}, None])
def test_a_signed_predicate_of_another_shape_is_refused(
    author: Author, keys: TrustKeys, predicate: dict[str, Any] | None
) -> None:
    statement = plan_statement(gate_statements.PREDICATE_TYPE, [("m", MODEL)], {}) | {"predicate": predicate}
    answer = (predicate or {}).get("answer")
    gate = {**(answer if isinstance(answer, dict) else {}), "envelope": author.sign(statement)}
    assert judge(author.documents(gate=gate), keys)


def test_the_same_answer_gives_the_same_envelope(author: Author) -> None:
    assert author.sign_gate(ANSWER) == author.sign_gate(json.loads(json.dumps(ANSWER)))
