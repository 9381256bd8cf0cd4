"""Documents that earlier code stored are read as they are, and written with the same keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sluice.rollout.decisions.evidence import Counts
from sluice.rollout.decisions.states import CommandKind, Phase
from sluice.rollout.journals import CHECKPOINT, JOURNAL, build_document, dump_checkpoint

STORED = Path(__file__).with_name("stored")
JOURNAL_TEXT = (STORED / "journal.json").read_text(encoding="utf-8")
EVIDENCE_TEXT = (STORED / "evidence.json").read_text(encoding="utf-8")


def select_keys(written: Any, stored: Any) -> Any:
    """Return a written document without the keys that were added since the stored one was written."""
    if isinstance(stored, dict):
        return {key: select_keys(written[key], value) for key, value in stored.items()}
    if isinstance(stored, list):
        assert len(written) == len(stored)
        return [select_keys(one, other) for one, other in zip(written, stored, strict=True)]
    return written


def test_a_stored_journal_is_read_without_migration() -> None:
    journal = JOURNAL.validate_json(JOURNAL_TEXT)
    assert (journal.champion, journal.previous, journal.target) == tuple(f"sha256:{letter * 64}" for letter in "bac")
    assert (journal.state.phase, journal.state.promoted_by) == (Phase.BAKING, "kim")
    assert (journal.last_command_at, journal.last_request_id) == (4.5, "r")
    assert journal.transitions[0].commanded_by == "kim"
    assert journal.command is not None
    assert journal.command.kind is CommandKind.ROLLBACK


def test_a_journal_is_written_with_the_keys_that_were_stored() -> None:
    stored = json.loads(JOURNAL_TEXT)
    assert select_keys(build_document(JOURNAL.validate_json(JOURNAL_TEXT)), stored) == stored


def test_stored_evidence_is_read_without_migration() -> None:
    checkpoint = CHECKPOINT.validate_json(EVIDENCE_TEXT)
    assert checkpoint.evidence is not None
    assert checkpoint.evidence.state_name == "step-1"
    assert checkpoint.evidence.champion_record == Counts(5000, 3, 4990, 7)
    assert checkpoint.evidence.canary == Counts(300, 1, 299, 2)


def test_evidence_is_written_with_the_keys_that_were_stored_and_read_again() -> None:
    checkpoint = CHECKPOINT.validate_json(EVIDENCE_TEXT)
    written, stored = json.loads(dump_checkpoint(checkpoint)), json.loads(EVIDENCE_TEXT)
    assert CHECKPOINT.validate_python(written) == checkpoint
    for process in ("process", "latency"):  # the requests since the last error are not needed any more
        stored["evidence"][process] = {
            name: number for name, number in stored["evidence"][process].items() if not name.startswith("waiting_")
        }
    assert select_keys(written, stored) == stored
