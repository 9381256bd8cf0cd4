"""What the controller rendered, so that it can put right what others changed, and changes nothing itself without need. Pure.

Seldon's operator adds defaults to a SeldonDeployment whenever it is written. Therefore a rendering keeps a fingerprint of the
predictor as the API server stored it after the controller's own write. Any other content is somebody else's change. A release
keeps the predictor that was rendered for it, so that a changed setting restarts no server that takes traffic.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.rollout.platforms.seldon.objects.predictors import (
    build_predictor,
    list_served_releases,
    read_predictor_digest,
)
from sluice.rollout.platforms.seldon.objects.route_forms import RouteForm, load_form

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sluice.project.settings import Settings
    from sluice.rollout.decisions.states import Journal

_MOVING = ("traffic", "replicas")
"""Fields of a predictor that the controller sets in each round."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A part of a SeldonDeployment as the controller rendered it.

    Attributes:
        rendered: The fields that the controller wrote.
        stored: Fingerprint of what the API server stored then.
    """

    rendered: Mapping[str, Any]
    stored: str


@dataclass(frozen=True, slots=True)
class Renderings:
    """Everything that the controller rendered.

    Attributes:
        spec: The spec of the SeldonDeployment without its predictors; None before the first release.
        predictors: The predictors by release.
        routes: The routes as Seldon's operator wrote them; None if they were never seen.
    """

    spec: Rendering | None = None
    predictors: Mapping[str, Rendering] = field(default_factory=dict)
    routes: RouteForm | None = None

    def dump(self) -> str:
        """Return compact JSON, for the status of the ModelRollout."""
        predictors = {digest: {"rendered": one.rendered, "stored": one.stored} for digest, one in self.predictors.items()}
        spec = {"spec": {"rendered": self.spec.rendered, "stored": self.spec.stored}} if self.spec else {}
        routes = {"routes": self.routes.dump()} if self.routes else {}
        return json.dumps(spec | {"predictors": predictors} | routes, separators=(",", ":"))


def read_renderings(rollout: Mapping[str, Any]) -> Renderings:
    """Return the renderings in the status of a ModelRollout. Only the controller writes the status."""
    found = json.loads((rollout.get("status") or {}).get("rendered") or "{}")
    spec = found.get("spec")
    return Renderings(
        spec=Rendering(spec["rendered"], spec["stored"]) if spec else None,
        predictors={digest: Rendering(one["rendered"], one["stored"]) for digest, one in (found.get("predictors") or {}).items()},
        routes=load_form(found.get("routes")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredDeployment:
    """The SeldonDeployment that the journal requires.

    Attributes:
        spec: The spec without its predictors.
        predictors: The predictors, in their order.
        corrections: What others changed and the controller puts right, one clause each.
        differs: Whether the SeldonDeployment in the cluster is another one.
    """

    spec: Mapping[str, Any]
    predictors: Sequence[Mapping[str, Any]]
    corrections: tuple[str, ...]
    differs: bool


def plan_deployment(
    live: Mapping[str, Any] | None,
    journal: Journal,
    settings: Settings,
    renderings: Renderings,
    *,
    spec: Mapping[str, Any],
    replicas: int,
    draining: Iterable[str] = (),
    unverified: Collection[str] = (),
) -> DesiredDeployment:
    """Return the SeldonDeployment that the journal requires.

    Predictors are appended and never reordered. Those that are not needed are removed.

    Args:
        live: The SeldonDeployment in the cluster; None if there is none.
        journal: The journal.
        settings: The settings of the project, for a release that was never rendered.
        renderings: What the controller rendered before.
        spec: The spec without predictors, as the present settings render it. It is used for the first release only.
        replicas: Replicas of each release that may take traffic; 0 while the first release is not approved, because a predictor
            that is alone takes all the traffic.
        draining: Releases that are no longer needed and still answer their last requests.
        unverified: Releases whose signatures nobody has verified. They get no predictor, and no replicas that they do not have.
    """
    live_spec = dict((live or {}).get("spec") or {})
    present = list(live_spec.pop("predictors", None) or [])
    needed = list_served_releases(journal)
    named = {digest: one for digest, one in needed.items() if digest not in unverified or digest in renderings.predictors}
    corrections: list[str] = []
    desired: list[Mapping[str, Any]] = []
    for predictor in present:
        digest = read_predictor_digest(predictor)
        if digest not in {*named, *draining} or digest in {read_predictor_digest(one) for one in desired}:
            continue
        rendering = renderings.predictors.get(digest)
        if rendering is not None and fingerprint(predictor) == rendering.stored:
            desired.append(predictor)
        elif rendering is not None or digest in named:
            fresh = rendering.rendered if rendering else build_predictor(named[digest], settings, replicas=0)
            desired.append(dict(fresh) | {name: predictor[name] for name in _MOVING if name in predictor})
            corrections += [f"predictor {predictor.get('name')} was changed by others"] if rendering else []
    known = {read_predictor_digest(one) for one in desired}
    for digest, release in named.items():
        if digest not in known:
            rendering = renderings.predictors.get(digest)
            desired.append(rendering.rendered if rendering else build_predictor(release, settings, replicas=0))
            corrections += [f"predictor {release.predictor} was removed by others"] if rendering else []
    if not desired:  # the operator refuses an empty list, so the first predictor stays without replicas
        desired = [dict(predictor) | {"replicas": 0} for predictor in present[:1]]
    startable = needed.keys() - set(unverified)
    scaled = [_set_traffic(one, journal, startable, replicas) for one in desired]
    kept = renderings.spec
    changed = kept is not None and live is not None and fingerprint(live_spec) != kept.stored
    corrections += ["the spec of the SeldonDeployment was changed by others"] if changed else []
    return DesiredDeployment(
        spec=kept.rendered if kept else spec,
        predictors=scaled,
        corrections=tuple(corrections),
        differs=bool(scaled) and (scaled != present or changed or kept is None),
    )


def record_renderings(desired: DesiredDeployment, stored: Mapping[str, Any], former: Renderings) -> Renderings:
    """Return the renderings after a write.

    Args:
        desired: What was written.
        stored: The SeldonDeployment as the API server stored it.
        former: The renderings before. A predictor that was written back as it was stored keeps its rendering.
    """
    stored_spec = dict(stored["spec"])
    kept = {read_predictor_digest(one): one for one in stored_spec.pop("predictors")}
    predictors = {}
    for one in desired.predictors:
        digest = read_predictor_digest(one)
        before = former.predictors.get(digest)
        is_kept = before is not None and fingerprint(one) == before.stored
        predictors[digest] = Rendering(before.rendered if before and is_kept else one, fingerprint(kept[digest]))
    return Renderings(Rendering(desired.spec, fingerprint(stored_spec)), predictors, former.routes)


def adopt_deployment(live: Mapping[str, Any]) -> Renderings:
    """Return renderings that take a SeldonDeployment as it is, because an earlier version of Sluice wrote it."""
    spec = dict(live["spec"])
    predictors = spec.pop("predictors", None) or []
    return Renderings(
        Rendering(spec, fingerprint(spec)),
        {digest: Rendering(one, fingerprint(one)) for one in predictors if (digest := read_predictor_digest(one))},
    )


def fingerprint(part: Mapping[str, Any]) -> str:
    """Return a fingerprint of a predictor, or of a spec without predictors. Traffic and replicas do not change it."""
    fixed = {name: value for name, value in part.items() if name not in _MOVING}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def _set_traffic(predictor: Mapping[str, Any], journal: Journal, startable: Collection[str], replicas: int) -> dict[str, Any]:
    digest = read_predictor_digest(predictor)
    scaled = {"replicas": replicas} if digest in startable else {}
    return dict(predictor) | scaled | {"traffic": journal.weights.get(digest, 0)}
