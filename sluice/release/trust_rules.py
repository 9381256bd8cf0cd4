"""Whether a release may take traffic, as its signatures say. Pure.

Whoever moves traffic decides this, with the public keys of the platform's owner. Nothing is believed that no key has signed: what
a release's manifest says about the gate counts only if the gate's own signature says the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.errors import IntegrityError
from sluice.release import gate_statements, provenance
from sluice.release.envelopes import list_subjects, verify_envelope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.release.envelopes import PublicKey

DECISION, PROVENANCE = "the gate's decision", "the provenance"


@dataclass(frozen=True, slots=True)
class TrustKeys:
    """The public keys that a release is verified with.

    Attributes:
        gate: One of these must have signed the gate's decision. If there are none, no signature is required.
        provenance: The same for the provenance.
    """

    gate: Sequence[PublicKey] = ()
    provenance: Sequence[PublicKey] = ()

    def __bool__(self) -> bool:
        """Whether anything is required."""
        return bool(self.gate or self.provenance)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDocuments:
    """What a release says about itself. The digests were computed from its bytes.

    Attributes:
        release: The digest of the model layer.
        image: The digest of the image.
        model: The digest of the model file in the layer.
        manifest: The manifest in the layer.
        provenance: The documents that are attached to the image as its provenance.
    """

    release: str
    image: str
    model: str
    manifest: Mapping[str, Any]
    provenance: Sequence[object] = ()


def find_refusal(
    documents: ReleaseDocuments, keys: TrustKeys, *, release: str, ledger_head: str, project: str, now: float
) -> str:
    """Say in one clause why a release may not take traffic; return an empty text if it may.

    Args:
        documents: What the release says about itself. Its author may have written anything.
        keys: The keys that are required.
        release: The digest of the release that somebody asked for.
        ledger_head: The question in the gate's ledger that the request names; empty if it names none. The rollout journal keeps
            it, and the gate finds by it that questions were removed from the ledger. So it must be the one that the gate signed.
        project: The name of the project that is served.
        now: The time at which an override of the gate must be valid, in seconds since the epoch.
    """
    try:
        _check_identity(documents, release)
        if keys.gate:
            _check_gate(documents, keys.gate, project, now)
            _check_ledger_head(documents, ledger_head)
        if keys.provenance:
            _check_provenance(documents, keys.provenance)
    except IntegrityError as error:
        return error.message
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        return f"what the release says about itself cannot be read: {type(error).__name__}: {error}"
    return ""


def _check_identity(documents: ReleaseDocuments, release: str) -> None:
    if documents.release != release:
        raise IntegrityError(f"its image contains the model layer {documents.release[:19]}, and not {release[:19]}")
    named = str(documents.manifest["model"]["digest"])
    if named != documents.model:
        raise IntegrityError(f"its manifest names the model {named[:19]}, but the model in it is {documents.model[:19]}")


def _check_gate(documents: ReleaseDocuments, keys: Sequence[PublicKey], project: str, now: float) -> None:
    """Check that a key signed a decision that lets this model pass, and that the manifest says the same."""
    gate = documents.manifest.get("gate")
    if not isinstance(gate, dict) or gate_statements.ENVELOPE not in gate:
        raise IntegrityError("its manifest contains no signed decision of the gate")
    statement = verify_envelope(gate[gate_statements.ENVELOPE], keys, DECISION)
    _check_type(statement, gate_statements.PREDICATE_TYPE, DECISION)
    if list_subjects(statement) != {documents.model}:
        subjects = ", ".join(sorted(digest[:19] for digest in list_subjects(statement))) or "no model"
        raise IntegrityError(f"{DECISION} is about {subjects}, and the model is {documents.model[:19]}")
    predicate = statement["predicate"]
    if predicate["project"] != project:
        raise IntegrityError(f"{DECISION} is about the project {predicate['project']!r}, and not about {project!r}")
    answer = predicate["answer"]
    if gate_statements.read_answer(gate) != answer:
        raise IntegrityError("its manifest says something else about the gate than what the gate has signed")
    if answer["promote"] is True or gate_statements.is_overridden(documents.manifest, now):
        return
    override = answer.get("override")
    nor = "its override is not valid now" if override else "nobody overrode it"
    raise IntegrityError(f"the gate did not promote this model, and {nor}")


def _check_ledger_head(documents: ReleaseDocuments, named: str) -> None:
    signed = str(documents.manifest["gate"].get("ledger_head") or "")
    if named != signed:
        asked = f"the question {named} of the gate's ledger" if named else "no question of the gate's ledger"
        raise IntegrityError(f"the request names {asked}, and the gate has signed {signed or 'none'}")


def _check_provenance(documents: ReleaseDocuments, keys: Sequence[PublicKey]) -> None:
    """Check that a key signed a provenance of exactly this layer in exactly this image. Others may be attached as well."""
    if not documents.provenance:
        raise IntegrityError("it has no provenance")
    faults = []
    for document in documents.provenance:
        try:
            statement = verify_envelope(document, keys, PROVENANCE)
            _check_type(statement, provenance.PREDICATE_TYPE, PROVENANCE)
            _check_subjects(statement, documents)
        except IntegrityError as error:
            faults.append(error.message)
        else:
            return
    raise IntegrityError("; ".join(dict.fromkeys(faults)))


def _check_subjects(statement: Mapping[str, Any], documents: ReleaseDocuments) -> None:
    for what, digest in (("model layer", documents.release), ("image", documents.image)):
        if digest not in list_subjects(statement):
            raise IntegrityError(f"{PROVENANCE} is about another {what} than {digest[:19]}")


def _check_type(statement: Mapping[str, Any], expected: str, what: str) -> None:
    if statement.get("predicateType") != expected:
        raise IntegrityError(f"{what} is a statement of the type {statement.get('predicateType')!r}, and not {expected!r}")
