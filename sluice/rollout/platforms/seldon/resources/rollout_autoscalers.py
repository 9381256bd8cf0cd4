"""The autoscaler that a ModelRollout asks for: the controller makes it, puts it right, and deletes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluice.errors import ConfigurationError, DataError, ServiceError
from sluice.rollout.journals import ConflictError
from sluice.rollout.platforms.seldon.api import AUTOSCALER, MODEL_ROLLOUT
from sluice.rollout.platforms.seldon.objects.autoscalers import build_autoscaler, includes, is_owned
from sluice.rollout.platforms.seldon.resources.rollout_specs import read_autoscaling, read_replicas

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sluice.rollout.platforms.seldon.api import Cluster
    from sluice.rollout.platforms.seldon.resources.rollout_specs import AutoscalingSpec

MANAGER = "sluice-autoscaling"


@dataclass(slots=True)
class RolloutAutoscaler:
    """Writes the HorizontalPodAutoscaler of one ModelRollout. No traffic depends on it, so an error stops no round.

    Attributes:
        cluster: The namespace.
        replicas: Replicas of each release if the spec does not say it.
        notify: Called with each problem, one line of text.
        correct: Called with each change by others that was put right, one line of text.
    """

    cluster: Cluster
    replicas: int
    notify: Callable[[str], object]
    correct: Callable[[str], object]
    _written: Mapping[str, Any] | None = None
    _is_absent: bool = False
    _problem: str = ""

    def follow(self, rollout: Mapping[str, Any], *, is_split: bool) -> str:
        """Bring the autoscaler to what the spec asks for; return what is wrong with it, empty if nothing is.

        Args:
            rollout: The ModelRollout.
            is_split: Whether several releases have traffic.
        """
        problem = ""
        try:
            self._follow(rollout, read_autoscaling(rollout), is_split=is_split)
        except ConflictError:
            pass  # somebody else wrote meanwhile, and the next round reads it again
        except (ConfigurationError, DataError, ServiceError) as error:
            # Whoever asks for no autoscaler may run an older Role, which does not allow to look for one.
            problem = str(error) if (rollout.get("spec") or {}).get("autoscaling") is not None else ""
        if problem and problem != self._problem:
            self.notify(f"problem: {problem}")
        self._problem = problem
        return problem

    def _follow(self, rollout: Mapping[str, Any], asked: AutoscalingSpec | None, *, is_split: bool) -> None:
        name = rollout["metadata"]["name"]
        if asked is None:
            self._remove(rollout, name)
            return
        if not read_replicas(rollout):
            # The API server has no scale of an object that does not state its replicas, and an autoscaler would fail.
            start = min(max(self.replicas, asked.min_replicas), asked.max_replicas)
            self.cluster.scale(MODEL_ROLLOUT, name, start, manager=MANAGER)
        desired = build_autoscaler(
            rollout, fewest=asked.min_replicas, most=asked.max_replicas, target=asked.target, is_split=is_split
        )
        self._write(rollout, name, desired)

    def _write(self, rollout: Mapping[str, Any], name: str, desired: dict[str, Any]) -> None:
        found = self.cluster.get(AUTOSCALER, name)
        self._is_absent = False
        if found is None:
            self.cluster.create(AUTOSCALER, desired, manager=MANAGER)
            if self._written is not None:
                self.correct("the HorizontalPodAutoscaler was deleted by others; it was put right")
        elif not is_owned(found, rollout):
            raise ConfigurationError(
                f"there is a HorizontalPodAutoscaler {name} that the controller did not make",
                hint="Delete it, or remove spec.autoscaling from the ModelRollout.",
            )
        elif not includes(found["spec"], desired["spec"]):
            self.cluster.replace(AUTOSCALER, name, {**found, "spec": desired["spec"]}, manager=MANAGER)
            if self._written == desired["spec"]:
                self.correct("the HorizontalPodAutoscaler was changed by others; it was put right")
        self._written = desired["spec"]

    def _remove(self, rollout: Mapping[str, Any], name: str) -> None:
        """Delete the autoscaler of this ModelRollout. If there is none, this is read only once."""
        if self._is_absent:
            return
        found = self.cluster.get(AUTOSCALER, name)
        if found is not None and is_owned(found, rollout):
            self.cluster.delete(AUTOSCALER, name)
        self._is_absent, self._written = True, None
