"""Where a step in a pod keeps what must outlive it. Its state folder is empty when it starts and lost when it ends.

The releases are in the registry, and the gate's ledger is in a ConfigMap. The digest of the holdout is in sluice.toml. Without
these settings, each step would work with a state of its own and say nothing, so it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.errors import ConfigurationError
from sluice.run_warnings import RunWarning

if TYPE_CHECKING:
    from sluice.project.projects import Project
    from sluice.project.settings import Settings

_LOST = "the state folder of this step is lost when the step ends"


PLACES = {
    "serving.repository": "no other step finds the release that it packages",
    "gate.config_map": "nobody counts the questions to the gate",
    "data.holdout_digest": "nobody notices another holdout",
}
"""Setting that a pipeline in a cluster needs → what happens without it."""


def check_places(project: Project) -> None:
    """Check that nothing that a later step or run needs would stay in a state folder that is lost.

    Raises:
        ConfigurationError: It would. The message names the setting that is missing.
    """
    if not project.ephemeral:
        return
    for key in find_missing_places(project.settings):
        raise ConfigurationError(
            f"{_LOST}, and {key} is not set, so {PLACES[key]}",
            hint=f"Set {key} in sluice.toml or in steps.env. docs/cluster.md says what a Pod needs.",
        )


def find_missing_places(settings: Settings) -> list[str]:
    """Return the settings of `PLACES` that are not set. ``steps.env`` may also set them for the steps."""
    values = {
        "serving.repository": settings.serving.repository,
        "gate.config_map": settings.gate.config_map,
        "data.holdout_digest": settings.data.holdout_digest,
    }
    return [key for key in PLACES if not values[key]]


def warn_of_lost_journal(project: Project) -> list[RunWarning]:
    """Return a warning if the rollout journal would be in a state folder that is lost, so that no champion is known."""
    if not project.ephemeral or project.settings.rollout.in_cluster:
        return []
    return [
        RunWarning(
            kind="no-journal",
            text=f"{_LOST}, and rollout.splitter is {project.settings.rollout.splitter!r}, so no champion is known here, and the "
            "gate compares with none",
            hint='Set rollout.splitter = "seldon" in sluice.toml or in steps.env, if a cluster serves production.',
        )
    ]
