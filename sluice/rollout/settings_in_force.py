"""Which settings of ``[rollout]`` are in force in a running supervisor, and what becomes of a change in sluice.toml. Pure.

A change is read on SIGHUP. It applies when no rollout is running, because the evidence of a rollout is collected and judged by
one set of rules from its beginning to its end. What the proxy was started with applies when `sluice serve` starts again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.project.tables.rollout import RolloutTable

NEED_RESTART = frozenset({"splitter", "request_timeout_seconds", "slow_seconds"})
"""The settings that the proxy is started with."""

READ_BY_COMMANDS = frozenset({"steps", "step_seconds", "approval_seconds"})
"""The settings that each command reads from the file, so that a change applies to the next command."""


def plan_settings(present: RolloutTable, wanted: RolloutTable) -> RolloutTable:
    """Return the settings that a running supervisor uses from now on: those of the file, and what was there at its start.

    Args:
        present: The settings in force.
        wanted: The settings of the file.
    """
    return wanted.model_copy(update={name: getattr(present, name) for name in NEED_RESTART})


def describe_settings(settings: RolloutTable) -> dict[str, Any]:
    """Return the settings that a supervisor keeps in force, as plain JSON types."""
    return settings.model_dump(mode="json", exclude=set(READ_BY_COMMANDS))


def list_differences(in_force: Mapping[str, Any], file: RolloutTable) -> list[dict[str, Any]]:
    """Return each setting whose value in force is not the one in the file.

    Args:
        in_force: What `describe_settings` returned in the supervisor. A supervisor of an earlier version reports nothing.
        file: ``[rollout]`` of sluice.toml as it is now.

    Returns:
        For each: ``name``, ``in_force``, ``file``, and ``restart``, whether it needs a new start of `sluice serve`.
    """
    wanted = describe_settings(file)
    return [
        {"name": name, "in_force": in_force[name], "file": wanted[name], "restart": name in NEED_RESTART}
        for name in wanted
        if name in in_force and in_force[name] != wanted[name]
    ]


def describe_changes(present: RolloutTable, wanted: RolloutTable) -> str:
    """Return one sentence about the settings that differ, for the supervisor's output; empty if none does."""
    changes = list_differences(describe_settings(present), wanted)
    now = [f"{one['name']} = {one['file']} (was {one['in_force']})" for one in changes if not one["restart"]]
    later = [f"{one['name']} = {one['file']}" for one in changes if one["restart"]]
    parts = [f"from now on {', '.join(now)}"] if now else []
    parts += [f"{', '.join(later)} needs a new start of `sluice serve`"] if later else []
    return "; ".join(parts)
