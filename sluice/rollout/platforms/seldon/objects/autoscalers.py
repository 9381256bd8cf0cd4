"""The HorizontalPodAutoscaler of a ModelRollout. Pure.

It scales the ModelRollout and not the Deployments of the predictors, and the controller passes the number on to the champion, N-1
and the canary. Seldon's ``hpaSpec`` makes an autoscaler for each predictor instead. That of N-1, which has no traffic, would
scale N-1 down to its minimum, and a rollback would meet too few Pods.

The autoscaler measures the Pods that ``status.selector`` selects: those of the release that gets the most traffic. It counts only
the model's container, so that a sidecar does not change the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluice.rollout.platforms.seldon.objects.predictors import CONTAINER

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCALE_UP = {
    "selectPolicy": "Max",
    "stabilizationWindowSeconds": 0,
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_SCALE_DOWN = {"stabilizationWindowSeconds": 300, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}
"""The defaults of Kubernetes. They are stated, so that a changed one is seen and put right."""


def build_autoscaler(rollout: Mapping[str, Any], *, fewest: int, most: int, target: int, is_split: bool) -> dict[str, Any]:
    """Return the autoscaler of a ModelRollout, without ``apiVersion`` and ``kind``.

    Args:
        rollout: The ModelRollout, which becomes its owner.
        fewest: Fewest replicas of each release.
        most: Most replicas of each release.
        target: Mean CPU use of the model's containers, in per cent of what they request.
        is_split: Whether several releases have traffic. Then each has less load than a release that has all of it, so the
            autoscaler does not scale down.
    """
    own = {name: rollout[name] for name in ("apiVersion", "kind")} | {"name": rollout["metadata"]["name"]}
    owner = {**own, "uid": rollout["metadata"]["uid"], "controller": True}
    cpu = {"name": "cpu", "container": CONTAINER, "target": {"type": "Utilization", "averageUtilization": target}}
    return {
        "metadata": {"name": own["name"], "ownerReferences": [owner]},
        "spec": {
            "scaleTargetRef": own,
            "minReplicas": fewest,
            "maxReplicas": most,
            "metrics": [{"type": "ContainerResource", "containerResource": cpu}],
            "behavior": {
                "scaleUp": _SCALE_UP,
                "scaleDown": {"selectPolicy": "Disabled" if is_split else "Max", **_SCALE_DOWN},
            },
        },
    }


def is_owned(autoscaler: Mapping[str, Any], rollout: Mapping[str, Any]) -> bool:
    """Return whether an autoscaler belongs to this ModelRollout, so that the controller may change and delete it."""
    owners = autoscaler["metadata"].get("ownerReferences") or []
    return any(one.get("uid") == rollout["metadata"]["uid"] for one in owners)


def includes(found: object, desired: object) -> bool:
    """Return whether a stored value has all that a desired one has. An API server may add fields, but nothing to a list."""
    if isinstance(desired, dict):
        return isinstance(found, dict) and all(name in found and includes(found[name], one) for name, one in desired.items())
    if isinstance(desired, list):
        if not isinstance(found, list) or len(found) != len(desired):
            return False
        return all(includes(one, other) for one, other in zip(found, desired, strict=True))
    return found == desired
