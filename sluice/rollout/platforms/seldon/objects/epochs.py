"""The epoch in an object: which controller wrote it last. Pure.

Each controller has a higher epoch than all before it, so that one that was paused cannot write over what a later one wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

EPOCH_ANNOTATION = "sluice.dev/epoch"
"""Annotation of the SeldonDeployment and the VirtualService: the epoch of the controller that wrote it last."""

ROLLOUT_MANAGER = "sluice-rollout"
"""Field manager of the predictors and the routes, which only the controller writes."""

MAX_EPOCH = 2**31 - 2
"""The highest epoch: a lease counts its holders in 32 bits."""


def read_annotated_epoch(found: Mapping[str, Any] | None) -> int:
    """Return the epoch of the controller that wrote an object last; 0 if there is none, or none that a lease can count."""
    text = str(((found or {}).get("metadata", {}).get("annotations") or {}).get(EPOCH_ANNOTATION, ""))
    return int(text) if text.isascii() and text.isdecimal() and int(text) < MAX_EPOCH else 0


def build_metadata(found: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    """Return what every change carries: the version that was read, and the epoch of the controller."""
    return {
        "resourceVersion": found["metadata"]["resourceVersion"],
        "annotations": {EPOCH_ANNOTATION: str(epoch)},
    }
