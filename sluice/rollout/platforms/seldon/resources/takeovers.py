"""The journal that earlier versions of Sluice kept in an annotation of the SeldonDeployment. It is taken over once. Pure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluice.errors import DataError
from sluice.rollout.journals import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.rollout.decisions.states import Journal

JOURNAL_ANNOTATION = "sluice.dev/journal"
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
