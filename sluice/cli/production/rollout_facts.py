"""What `sluice rollout status` shows, line by line, and how the commands of a rollout name a release and a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sluice.project.projects import Project
    from sluice.rollout.requests.release_references import NamedRelease
    from sluice.rollout.requests.statuses import RolloutStatus

MAX_CONDEMNED = 3
"""Condemned releases that the status shows."""


def find_release(project: Project, ref: str) -> NamedRelease:
    """Return the release that a person named."""
    from sluice.rollout.requests.release_references import find_release

    return find_release(project, ref)


def _describe_release(project: Project, digest: str | None) -> str:
    return f"release {find_release(project, digest).number}  {digest[:19]}" if digest else "none"


def list_status_facts(project: Project, status: RolloutStatus) -> dict[str, object]:
    """Return the lines of the status: name → text."""
    weights = {
        f"release {find_release(project, digest).number}": f"{weight} %" for digest, weight in status.weights.items() if weight
    }
    return (
        {
            "serving": status.url or _describe_serving(project, status),
            "state": status.state,
            "champion": _describe_release(project, status.champion),
            "previous": _describe_release(project, status.previous),
            "canary": _describe_release(project, status.target),
            "traffic": ", ".join(f"{name} {weight}" for name, weight in weights.items()) or "none",
            "reason": status.reason,
        }
        | _describe_expected_time(status)
        | _describe_rejections(status.evidence or {})
        | _describe_failure(status.failure)
        | _describe_condemned(project, status)
        | _describe_problems(project, status)
        | _describe_settings(status)
    )


def _describe_settings(status: RolloutStatus) -> dict[str, object]:
    """Return the settings in force that sluice.toml has another value for, and what makes the file's value apply."""
    if not status.settings:
        return {}
    lines = [f"{one['name']}: {one['in_force']} is in force, sluice.toml says {one['file']}" for one in status.settings]
    if any(not one["restart"] for one in status.settings):
        after = " The change applies when the running rollout has ended." if status.target else ""
        lines.append(f"`kill -HUP {status.pid}` lets `sluice serve` read [rollout] again.{after}")
    if restart := [one["name"] for one in status.settings if one["restart"]]:
        lines.append(f"A new start of `sluice serve` lets {', '.join(restart)} apply.")
    return {"settings": "\n".join(lines)}


def _describe_expected_time(status: RolloutStatus) -> dict[str, object]:
    """Return when the next interim look is expected, if a canary takes traffic."""
    from sluice.rollout.decisions.expected_times import describe_duration

    evidence = status.evidence or {}
    seconds = evidence.get("seconds_to_next_look")
    if seconds is None:
        return {}
    rate = f"{evidence['requests_per_second']:.3g} requests a second"
    return {
        "next look": f"at {evidence['next_look']} canary requests of this step, in about {describe_duration(seconds)} at {rate}"
    }


def _describe_serving(project: Project, status: RolloutStatus) -> str:
    if project.settings.rollout.in_cluster:
        absent = "no controller is running: install manifests/, or start `sluice rollout controller`"
        return "by Seldon Core" if status.supervised else absent
    return "no supervisor is running: `sluice serve` starts it"


def _describe_problems(project: Project, status: RolloutStatus) -> dict[str, object]:
    """Return the problem of the last round, what is wrong with each server, and what happened to a server last."""
    shown = {server["release"]: problem for server in status.servers if (problem := _describe_server(server))}
    failures: dict[str, object] = {f"release {find_release(project, one).number}": shown[one] for one in shown}
    event = status.server_event
    last = {"last event": f"{write_time(event['time'])} {event['text']}"} if event else {}
    return ({"problem": status.trouble} if status.trouble else {}) | failures | last


def list_history_rows(transitions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return each transition as its time and a short text of several lines, so that it can be read in a terminal of 80 columns.

    Args:
        transitions: What `read_transitions` returned.
    """
    return [(write_time(line["time"]), "\n".join(_list_transition_lines(line))) for line in transitions]


def _list_transition_lines(line: Mapping[str, Any]) -> list[str]:
    unchanged = line["from"] == line["to"]
    moved = f"{line['from']}, unchanged" if unchanged and not line["word_of"] else f"{line['from']} → {line['to']}"
    traffic = ", ".join(f"{_shorten(digest)} {weight} %" for digest, weight in line.get("weights", {}).items() if weight)
    about = f"{_shorten(line['release'])}: " if line.get("release") else ""
    by = line["word_of"]
    account = f" (by {by})" if by and by not in line["reason"] else ""
    failures = [f"  {one}" for one in (line.get("failure") or {}).get("lines", [])]
    return [f"{moved}  [{traffic or 'no traffic'}]", f"{about}{line['reason']}{account}", *failures]


def _shorten(digest: str) -> str:
    """Return the digits of a digest by which people recognise a release."""
    return digest.removeprefix("sha256:")[:8]


def write_time(seconds: float) -> str:
    """Return seconds since the epoch as a time of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _describe_rejections(evidence: Mapping[str, Any]) -> dict[str, object]:
    """Return how many requests were answered with a 4xx during the rollout, if there were any."""
    canary, stable = evidence.get("canary_rejected", 0), evidence.get("stable_rejected", 0)
    return {"rejected": f"{canary} requests at the canary, {stable} at stable (4xx; not judged)"} if canary or stable else {}


def _describe_failure(failure: Mapping[str, Any] | None) -> dict[str, object]:
    """Return what failed in the last rollout, one line for each error."""
    return {"what failed": "\n".join(failure["lines"])} if failure and failure["lines"] else {}


def _describe_condemned(project: Project, status: RolloutStatus) -> dict[str, object]:
    """Return the releases that were condemned last, with the time and the reason, newest first."""
    from sluice.rollout.requests.condemnations import read_condemnations

    if not status.condemned:
        return {}
    newest = list(reversed(read_condemnations(project).items()))
    lines = [f"release {name_number(project, digest)}: {told}" for digest, told in newest[:MAX_CONDEMNED]]
    more = len(newest) - len(lines)
    lines += [f"and {more} more (`sluice release list`)"] if more else []
    return {"condemned": "\n".join(lines)}


def name_number(project: Project, digest: str) -> str:
    """Return the number of a release; the beginning of its digest if no store holds it any more, or none answers."""
    from sluice.errors import ServiceError, StateError

    try:
        return str(find_release(project, digest).number)
    except (StateError, ServiceError):
        return digest[:19]


def _describe_server(server: Mapping[str, Any]) -> str:
    """Return what is wrong with a server; empty if nothing is."""
    if server.get("failure"):
        return f"its server failed: {server['failure']}"
    if server.get("hung"):
        return f"its server hung: {server['hung']}" + ("" if server.get("ready") else "; the new one is starting")
    return f"its server is not ready: {server['waiting']}" if server.get("waiting") and not server.get("ready") else ""
