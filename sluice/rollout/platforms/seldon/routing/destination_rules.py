"""DestinationRules: without the rule of a destination's subset, Istio answers 503 for it.

Seldon's operator writes one for each predictor, and does not notice when somebody deletes or changes it (1.17.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.errors import ServiceError
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import DESTINATION_RULE
from sluice.rollout.platforms.seldon.objects.epochs import ROLLOUT_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sluice.rollout.platforms.seldon.api import Cluster

_ESSENTIALS = ("host", "subsets")
"""Fields without which a destination's subset does not exist. The rest follows from the operator's settings."""


@dataclass(slots=True)
class DestinationRules:
    """Keeps the DestinationRules that were seen.

    Attributes:
        cluster: The namespace.
        warn: Called with the reason and the text of each event that people should see.
    """

    cluster: Cluster
    warn: Callable[[str, str], object]

    def keep(
        self, seen: Mapping[str, Mapping[str, Any]], needed: Sequence[str], owner: Mapping[str, Any]
    ) -> dict[str, Mapping[str, Any]]:
        """Write again what others deleted or changed, and return the rules as they are now.

        Rules are not needed for a decision, so an API server that refuses is not an error here.

        Args:
            seen: The specs that were seen before, by name.
            needed: The names of the rules of all destinations.
            owner: The owner reference to the SeldonDeployment.
        """
        try:
            found = {one["metadata"]["name"]: one for one in self.cluster.list(DESTINATION_RULE, "")}
        except ServiceError:
            return dict(seen)
        kept: dict[str, Mapping[str, Any]] = {}
        for name in needed:
            live, before = found.get(name), seen.get(name)
            if live is not None and (before is None or _is_intact(live["spec"], before)):
                kept[name] = live["spec"]
            elif before is not None:
                kept[name] = before
                self._restore(name, before, owner, live)
        return kept

    def _restore(self, name: str, spec: Mapping[str, Any], owner: Mapping[str, Any], live: Mapping[str, Any] | None) -> None:
        try:
            if live is None:
                body = {"metadata": {"name": name, "ownerReferences": [dict(owner)]}, "spec": dict(spec)}
                self.cluster.create(DESTINATION_RULE, body, manager=ROLLOUT_MANAGER)
            else:
                version = {"resourceVersion": live["metadata"]["resourceVersion"]}
                essentials = {field: spec[field] for field in _ESSENTIALS if field in spec}
                patch = {"metadata": version, "spec": essentials}
                self.cluster.merge(DESTINATION_RULE, name, patch, manager=ROLLOUT_MANAGER)
        except ConflictError:
            return  # the operator wrote it, or the next round reads it again
        except ServiceError as error:
            self.warn("RoutesNotApplied", f"the DestinationRule {name} cannot be written: {error}")
            return
        self.warn("RoutesRestored", f"the DestinationRule {name} was {'deleted' if live is None else 'changed'}; it was restored")


def _is_intact(live: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return all(live.get(field) == before.get(field) for field in _ESSENTIALS)
