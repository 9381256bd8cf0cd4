"""The record of a step as an output artifact, which every engine carries: Argo and KFP keep it when the step's pod is gone.

The artifact ``record`` is a text file with one JSON document a line: the events of the step, and the parts of the run's record
that it wrote. Its metadata has what a list of runs shows, so that a list needs no access to the artifact store.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

RECORD = "record"
"""Name of the output artifact."""

DETAIL, GATE, RELEASE = "detail", "gate", "release"
"""Keys of the artifact's metadata: the step's last message, the gate's public answer, and the release's number and digest."""

KFP_VARIABLE = "KFP_POD_NAME"
"""Environment variable that KFP sets in the container of a step."""

PRINTED = "record of this step, for `sluice report`: "
"""Beginning of the line with which a step that fails on KFP prints its record."""

_RELEASE_KEYS = ("number", "digest")


@dataclass(slots=True)
class _Carrier:
    """Where the record of this process goes: the artifact's local path, and its metadata."""

    file: Path
    metadata: dict[str, Any]


_carriers: list[_Carrier] = []
"""The carrier of this process; empty if its component has none. A step is one process, and its threads share the carrier."""


def keep_record(path: str, metadata: dict[str, Any]) -> None:
    """Put the record of this process into an output artifact. A component calls it before the body of its step.

    Args:
        path: Local path of the artifact.
        metadata: The artifact's metadata. They are complete when the step ends.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).touch()
    _carriers[:] = [_Carrier(Path(path), metadata)]


def carry_event(event: Mapping[str, Any]) -> None:
    """Add an event of the step."""
    _append({"event": dict(event)})
    for carrier in _carriers:
        if event.get("event") == "ended" and event.get("detail"):
            carrier.metadata[DETAIL] = event["detail"]


def carry_part(name: str, document: Mapping[str, Any]) -> None:
    """Add a part of the run's record."""
    _append({"part": name, "document": dict(document)})
    for carrier in _carriers:
        if name == GATE:
            carrier.metadata[GATE] = dict(document)
        elif name == RELEASE:
            carrier.metadata[RELEASE] = {key: document.get(key) for key in _RELEASE_KEYS}


def _append(line: Mapping[str, Any]) -> None:
    for carrier in _carriers:
        with carrier.file.open("a", encoding="utf-8") as file:  # one write, so that threads do not mix their lines
            file.write(json.dumps(line) + "\n")


def print_record() -> None:
    """Print the record of a step that fails on KFP, because of such a step KFP keeps only the log and no artifact."""
    if os.environ.get(KFP_VARIABLE):
        for carrier in _carriers:
            sys.stderr.write(f"{PRINTED}{base64.b64encode(zlib.compress(carrier.file.read_bytes())).decode()}\n")


def find_printed_record(lines: Iterable[str]) -> str:
    """Return the record that a failed step printed into its log; empty if it printed none that can be read."""
    packed = [line.partition(PRINTED)[2] for line in lines if PRINTED in line]
    try:
        return zlib.decompress(base64.b64decode(packed[-1], validate=True)).decode() if packed else ""
    except (ValueError, zlib.error):
        return ""


def read_lines(text: str) -> Iterator[dict[str, Any]]:
    """Yield the events and parts of a record. A line that is not whole is left out, because the step was killed in it."""
    for line in text.splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            yield document
