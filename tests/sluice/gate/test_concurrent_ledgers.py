"""Several processes use one ledger at the same time, and one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from gate_inputs import BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.gate.ledger import Ledger


def count(ledger: Ledger) -> int:
    return len(ledger.read().questions())


ASK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from gate_inputs import RULE, ask
from sluice.gate.ledger import Ledger

ledger = Ledger(Path(sys.argv[1]))
rule = RULE.model_copy(update={"budget": 10_000})
print("ready", flush=True)
sys.stdin.readline()
for challenger in sys.argv[4:]:
    asked = ask(ledger, challenger, rule=rule)
    ledger.save_answer(asked.link, {"answer": asked.uses})
    print(challenger, asked.uses, flush=True)
"""


def start(folder: Path, challengers: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ASK, str(folder), BYTES, os.path.dirname(__file__), *challengers]  # noqa: PTH120 - text
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_together(processes: list[subprocess.Popen[str]]) -> list[list[tuple[str, int]]]:
    """Start all processes at the same time, when each is ready, and return what each printed."""
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [[(line.split()[0], int(line.split()[1])) for line in text.splitlines()] for text in printed]


def test_concurrent_processes_lose_no_question_and_count_none_twice(ledger: Ledger, folder: Path) -> None:
    asked = [[f"{process}-{number}" for number in range(10)] for process in range(4)]
    answers = run_together([start(folder, challengers) for challengers in asked])
    assert sorted(uses for answer in answers for _, uses in answer) == list(range(1, 41))
    document = ledger.read()
    stored = {record.question.challenger: record for record in document.questions()}
    for challenger, uses in (pair for answer in answers for pair in answer):
        record = stored[challenger]
        assert (record.uses, document.find_answer(record.link)) == (uses, {"answer": uses})


def test_concurrent_processes_with_the_same_question_count_it_once(ledger: Ledger, folder: Path) -> None:
    answers = run_together([start(folder, ["same", "also-same"]) for _ in range(4)])
    assert answers == [[("same", 1), ("also-same", 2)]] * 4
    assert count(ledger) == 2


@pytest.mark.slow
def test_a_killed_process_leaves_a_readable_ledger_that_counted_every_answer(ledger: Ledger, folder: Path) -> None:
    answered = 0
    for attempt in range(12):
        process = start(folder, [f"{attempt}-{number}" for number in range(5000)])
        try:
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("go\n")
            process.stdin.flush()
            answered += sum(bool(process.stdout.readline()) for _ in range(2 + attempt % 3))
            time.sleep(0.003 * attempt)  # so that the kill meets different moments of the next question
        finally:
            os.kill(process.pid, signal.SIGKILL)
            printed = process.communicate()[0]
        answered += printed.count("\n")
        assert count(ledger) >= answered
    assert answered >= 24
    assert count(ledger) <= answered + 12
