"""Journals that are found elsewhere than in the status of the ModelRollout. Pure.

Earlier versions of Sluice kept the journal in an annotation of the SeldonDeployment. It is taken over once. The Lease has a short
record of champion and N-1, for the case that somebody deletes the ModelRollout and no controller is left that remembers it.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluice.errors import DataError
from sluice.rollout.decisions.states import ALL_TRAFFIC, Journal
from sluice.rollout.journals import JOURNAL
from sluice.rollout.platforms.seldon.objects.predictors import find_model_container, read_predictor_digest
from sluice.rollout.platforms.seldon.objects.renderings import Rendering, Renderings, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

JOURNAL_ANNOTATION = "sluice.dev/journal"
CHAMPIONS_ANNOTATION = "sluice.dev/champions"
"""Annotation of the Lease: champion and N-1 with their images, and what must not be forgotten with the journal."""

OLD_ANNOTATIONS = (JOURNAL_ANNOTATION, "sluice.dev/request", "sluice.dev/command")


def find_earlier_journal(deployment: Mapping[str, Any] | None) -> Journal | None:
    """Return the journal in the annotation of a SeldonDeployment, without a waiting command; None if there is none.

    Raises:
        DataError: The annotation is not a journal.
    """
    metadata = (deployment or {}).get("metadata", {})
    text = (metadata.get("annotations") or {}).get(JOURNAL_ANNOTATION)
    if not text:
        return None
    try:
        return dataclasses.replace(JOURNAL.validate_json(text), command=None)
    except ValidationError as error:
        raise DataError(
            f"the annotation {JOURNAL_ANNOTATION} of SeldonDeployment {metadata.get('name')} is not a rollout journal: {error}",
            hint="Restore it from a backup. Without it, Sluice does not know which release is the champion.",
        ) from error


def dump_champions(journal: Journal, renderings: Renderings) -> str:
    """Return the record for the Lease: compact JSON without the history of rollouts.

    Condemned releases and used approvals are in it, because otherwise they would count again.
    """
    kept = Journal(
        version=journal.version,
        history=journal.history[-2:],
        weights={journal.champion: ALL_TRAFFIC} if journal.champion else {},
        last_command_at=journal.last_command_at,
        last_command_id=journal.last_command_id,
        last_request_id=journal.last_request_id,
        condemned=journal.condemned,
        used_approvals=journal.used_approvals,
    )
    prints = {digest: one.stored for digest, one in renderings.predictors.items()}
    document = {
        "journal": JOURNAL.dump_python(kept, mode="json", by_alias=True),
        "spec": renderings.spec.stored if renderings.spec else "",
        "predictors": prints,
    }
    return json.dumps(document, separators=(",", ":"))


def recall_champions(text: str, deployment: Mapping[str, Any]) -> tuple[Journal, Renderings] | None:
    """Return the journal and the renderings that follow from the record in the Lease; None if there is no record of a champion.

    The champion gets all traffic, because nothing is known any more about a canary.

    Args:
        text: The record.
        deployment: The SeldonDeployment. A part that is not as the controller stored it is rendered again.

    Raises:
        DataError: The record contradicts the SeldonDeployment, or cannot be read.
    """
    if not text:
        return None
    try:
        document = json.loads(text)
        journal = JOURNAL.validate_python(document["journal"])
        stored = dict(document["predictors"])
    except (ValueError, LookupError, TypeError) as error:
        raise refuse_recall(deployment, f"the record in the Lease cannot be read: {error}") from error
    if not journal.history:
        return None
    spec = dict(deployment["spec"])
    live = {read_predictor_digest(one): one for one in spec.pop("predictors", None) or []}
    champion = journal.history[-1]
    if champion.release not in live:
        raise refuse_recall(deployment, f"the champion {champion.release[:19]} in the Lease has no predictor")
    image = find_model_container(live[champion.release]["componentSpecs"][0]["spec"]).get("image", "")
    if image != champion.image:
        raise refuse_recall(deployment, f"the champion's image is {image}, and the record in the Lease names {champion.image}")
    return journal, Renderings(
        Rendering(spec, fingerprint(spec)) if fingerprint(spec) == document.get("spec") else None,
        {digest: Rendering(one, stored[digest]) for digest, one in live.items() if stored.get(digest) == fingerprint(one)},
    )


def refuse_recall(deployment: Mapping[str, Any], why: str) -> DataError:
    """Return the error that leaves the traffic as it is, because it is not certain which release is the champion."""
    name = deployment["metadata"].get("name")
    return DataError(
        f"the ModelRollout {name} has no journal, and it is not certain which release is the champion: {why}",
        hint=f"The traffic stays as it is. Restore the ModelRollout {name} with its status from a backup. If there is none, "
        "delete the SeldonDeployment at a time when the model may be down, and roll out a release as the first one.",
    )
