from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path  # noqa: TC003 - a child process needs it

import pytest

from sluice.errors import DataError, StateError
from sluice.rollout.decisions.evidence import Counts
from sluice.rollout.decisions.states import (
    Approval,
    ChampionTerm,
    Command,
    CommandKind,
    EndedRollout,
    Journal,
    Phase,
    Request,
    State,
    Transition,
)
from sluice.rollout.journals import Checkpoint, ConflictError
from sluice.rollout.platforms.laptop import journal_file
from sluice.rollout.platforms.laptop.atomic_files import write_atomically
from sluice.rollout.platforms.laptop.journal_file import JournalFile

FULL = Journal(
    history=(ChampionTerm(release="a", by="ada", at=1.0), ChampionTerm(release="b", by="ada", at=2.0)),
    request=Request(id="r", release="c", by="bob", at=3.0, steps=(5, 100)),
    approvals=(Approval(release="c", steps=(5, 100), by="eve", at=3.0, until=9.0, note="go"),),
    command=Command(kind=CommandKind.PROMOTE, by="kim", at=4.5),
    state=State(phase=Phase.STEP, step=0, since=4.0),
    weights={"b": 95, "c": 5},
    transitions=(
        Transition(
            time=4.0,
            from_state="awaiting_approval",
            to_state="step-1",
            reason="approved",
            weights={"b": 95, "c": 5},
            decided_at=4.0,
        ),
    ),
    rollouts=(
        EndedRollout(id="q", release="b", stable="a", outcome=Phase.PROMOTED, reason="baked", by="ada", started=1.0, ended=2.0),
    ),
)


@pytest.fixture
def file(tmp_path: Path) -> JournalFile:
    return JournalFile(tmp_path / "rollout")


def test_the_journal_is_empty_before_the_first_write(file: JournalFile) -> None:
    assert file.read() == Journal()
    assert not file.folder.exists()


def test_a_written_journal_is_read_back_and_names_champion_and_previous(file: JournalFile) -> None:
    written = file.replace(FULL)
    assert file.read() == written == dataclasses.replace(FULL, version=1)
    document = json.loads(file.path.read_text())
    assert (document["champion"], document["previous"], document["version"]) == ("b", "a", 1)


def test_a_write_over_another_version_is_refused(file: JournalFile) -> None:
    first = file.replace(FULL)
    file.update(lambda journal: dataclasses.replace(journal, command=None))
    with pytest.raises(ConflictError, match="version 2 by now, not 1"):
        file.replace(first)
    assert file.read().command is None


def test_an_update_may_refuse_or_change_nothing(file: JournalFile) -> None:
    file.replace(FULL)

    def refuse(_: Journal) -> Journal:
        raise StateError("no")

    with pytest.raises(StateError):
        file.update(refuse)
    assert file.update(lambda journal: journal).version == 1


def test_the_error_names_a_file_that_is_not_a_journal(file: JournalFile) -> None:
    file.folder.mkdir()
    for broken in ("", "{", '{"version": "x"}', '{"state": {"phase": "dancing"}}'):
        file.path.write_text(broken)
        with pytest.raises(DataError, match=r"journal\.json"):
            file.read()


def _count_up(folder: Path, times: int) -> None:
    file = JournalFile(folder)
    for _ in range(times):
        file.update(lambda journal: dataclasses.replace(journal, weights={"n": journal.weights.get("n", 0) + 1}))


def test_two_processes_that_write_at_once_lose_no_update(file: JournalFile) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_count_up, args=(file.folder, 50)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert file.read().weights == {"n": 100}
    assert file.read().version == 100


def test_a_writer_that_is_killed_leaves_a_complete_journal(file: JournalFile) -> None:
    file.replace(FULL)
    script = (
        "import dataclasses; from pathlib import Path; from sluice.rollout.platforms.laptop.journal_file import JournalFile\n"
        f"file = JournalFile(Path({str(file.folder)!r})); print('go', flush=True)\n"
        "while True: file.update(lambda journal: dataclasses.replace(journal, weights={'b': journal.version % 100}))\n"
    )
    last = 1
    for moment in (0.003, 0.017, 0.042):
        writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(moment)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        found = file.read()
        assert found.version >= last
        assert found.request == FULL.request
        last = found.version
    assert last > 1


def test_a_failed_write_leaves_the_old_file_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["x.json"]


def test_a_checkpoint_is_read_back_and_an_unreadable_one_is_empty(file: JournalFile) -> None:
    assert file.read_checkpoint() == Checkpoint()
    checkpoint = Checkpoint(recorded={"a": Counts(5, 1)})
    file.write_checkpoint(checkpoint)
    assert file.read_checkpoint() == checkpoint
    (file.folder / "evidence.json").write_text("{")
    assert file.read_checkpoint() == Checkpoint()


def test_samples_between_two_times_are_read_and_an_incomplete_line_is_skipped(file: JournalFile) -> None:
    for moment in (1.0, 2.0, 3.0):
        file.append_sample({"time": moment})
    with file.samples_path.open("a") as cut:
        cut.write('{"time": 2.5, "wei')
    assert [sample["time"] for sample in file.read_samples(1.5, 3.0)] == [2.0, 3.0]


def test_the_file_of_samples_does_not_grow_without_limit(file: JournalFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "MAX_SAMPLE_BYTES", 200)
    for moment in range(100):
        file.append_sample({"time": float(moment)})
    assert sum(path.stat().st_size for path in file.folder.glob("samples*")) < 500
    kept = [sample["time"] for sample in file.read_samples(0.0, 1000.0)]
    assert kept == sorted(kept)
    assert kept[-1] == 99.0


def test_a_project_that_was_never_served_is_not_supervised(file: JournalFile) -> None:
    assert not file.is_supervised()
    assert file.read_status() == {}
