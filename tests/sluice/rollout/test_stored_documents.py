"""Documents that earlier code stored are read as they are, and written with the same keys."""

from __future__ import annotations

import json
from pathlib import Path

from sluice.rollout.decisions.evidence import Counts
from sluice.rollout.decisions.states import CommandKind, Phase
from sluice.rollout.journals import CHECKPOINT, JOURNAL, build_document, dump_checkpoint

STORED = Path(__file__).with_name("stored")
JOURNAL_TEXT = (STORED / "journal.json").read_text(encoding="utf-8")
EVIDENCE_TEXT = (STORED / "evidence.json").read_text(encoding="utf-8")


def test_a_stored_journal_is_read_without_migration() -> None:
    journal = JOURNAL.validate_json(JOURNAL_TEXT)
    assert (journal.champion, journal.previous, journal.target) == tuple(f"sha256:{letter * 64}" for letter in "bac")
    assert (journal.state.phase, journal.state.promoted_by) == (Phase.BAKING, "kim")
    assert (journal.last_command_at, journal.last_request_id) == (4.5, "r")
    assert journal.transitions[0].commanded_by == "kim"
    assert journal.command is not None
    assert journal.command.kind is CommandKind.ROLLBACK


def test_a_journal_is_written_with_the_keys_that_were_stored() -> None:
    assert build_document(JOURNAL.validate_json(JOURNAL_TEXT)) == json.loads(JOURNAL_TEXT)


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
    assert written["recorded"] == stored["recorded"]
    for key, value in stored["evidence"].items():
        if key in {"process", "latency"}:  # the requests since the last error are not needed any more
            kept = {name: number for name, number in value.items() if not name.startswith("waiting_")}
            assert kept.items() <= written["evidence"][key].items()
        else:
            assert written["evidence"][key] == value
