"""A person who rolls back must not wait for libraries: what the commands of a rollout import before they ask for anything."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from sluice.release.store.releases import ReleaseStore
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
from sluice.rollout.platforms.laptop.journal_file import JournalFile
from sluice.rollout.platforms.seldon.resources.rollout_statuses import dump_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SETTINGS = """\
[project]
name = "quick"
[data]
snapshot = "s"
holdout = "h"
load = "m:f"
label = "l"
id = "i"
[model]
build = "m:f"
[rollout]
splitter = "SPLITTER"
"""
OF_MODELS = ("numpy", "scipy", "pandas", "pyarrow", "sklearn", "joblib", "matplotlib", "great_expectations", "kfp", "hypothesis")
OF_SERVERS = ("httpx", "uvicorn", "starlette", "jinja2", "prometheus_client", "seldon_core", "pytest", "fsspec")
OF_CLUSTERS = ("kubernetes", "google", "requests", "oauthlib", "websocket", "dateutil")
PROGRAM = """\
import atexit, os, pathlib, sys
atexit.register(lambda: pathlib.Path(os.environ["MODULES"]).write_text(" ".join(sys.modules)))
from sluice.cli import main
main()
"""
COMMANDS = {
    "status": (),
    "approve": (),
    "promote": ("--yes", "--why", "it is urgent"),
    "abort": ("--yes",),
    "rollback": ("--yes",),
}
CHAMPION, CANARY = "sha256:" + "a" * 64, "sha256:" + "b" * 64
STEPS = (5, 25, 100)


def make_journal() -> Journal:
    """The journal of a canary that takes traffic, so that each command has something to do."""
    now = time.time()
    request = Request(id="r", release=CANARY, by="ci", at=now - 60, steps=STEPS, number=2, image=f"registry/quick@{CANARY}")
    return Journal(
        history=(ChampionTerm(release=CHAMPION, by="ci", at=now - 600, number=1, image=f"registry/quick@{CHAMPION}"),),
        request=request,
        state=State(phase=Phase.STEP, step=0, since=now - 30),
        weights={CHAMPION: 95, CANARY: 5},
        last_request_id="r",
    )


class ClusterApi:
    """An API server with the objects of one rollout. Its controller carries a rollback out as soon as it is written."""

    def __init__(self) -> None:
        renewed = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        approval = {
            "rollout": "quick",
            "digest": CANARY,
            "image": f"registry/quick@{CANARY}",
            "steps": list(STEPS),
            "until": "2099-01-01T00:00:00Z",
            "approvedBy": "lee",
        }
        self.written: list[str] = []
        self.rollout: dict[str, Any] = {
            "metadata": {"resourceVersion": "1", "uid": "u", "generation": 1},
            "spec": {},
            "status": {"journal": dump_journal(make_journal())},
        }
        self.lease = {
            "metadata": {"annotations": {}},
            "spec": {"holderIdentity": "controller", "renewTime": renewed, "leaseDurationSeconds": 600},
        }
        self.approval = {"metadata": {"uid": "a", "creationTimestamp": "2020-01-01T00:00:00Z"}, "spec": approval}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def handle_call(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(length)) if length else {}
                answer = outer.answer(self.command, self.path.partition("?")[0], body)
                content = json.dumps(answer if answer is not None else {"message": "not found"}).encode()
                self.send_response(404 if answer is None else 200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = handle_call  # noqa: N815 - names of the standard library

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        if "selfsubjectreviews" in path:
            return {"status": {"userInfo": {"username": "kim"}}}
        if method == "POST":
            self.written.append("promote" if body["spec"].get("skipEvidence") else "approve")
            return body
        if path.endswith("/leases/quick-rollout"):
            return self.lease
        if path.endswith("/rolloutapprovals"):
            return {"items": [self.approval]}
        if not path.endswith("/modelrollouts/quick"):
            return None
        if method == "PATCH":
            self.accept(body["spec"]["command"])
        return self.rollout

    def accept(self, command: dict[str, str]) -> None:
        self.written.append(command["kind"])
        if command["kind"] == "rollback":
            ordered = Command(kind=CommandKind.ROLLBACK, by="kim", at=time.time(), target=command["target"], id=command["id"])
            self.rollout["status"]["journal"] = dump_journal(roll_back(make_journal(), ordered, CANARY))


@pytest.fixture
def api() -> Iterator[ClusterApi]:
    server = ClusterApi()
    yield server
    server.server.shutdown()
    server.server.server_close()


def run_command(folder: Path, splitter: str, *command: str, kubeconfig: Path | None = None) -> tuple[set[str], str, str]:
    """Run a command of the rollout in a new interpreter; return the packages that it has imported, and what it printed."""
    (folder / "sluice.toml").write_text(SETTINGS.replace("SPLITTER", splitter))
    arguments = [sys.executable, "-c", PROGRAM, "rollout", *command, "--project", str(folder)]
    own = {"COLUMNS": "300", "KUBECONFIG": str(kubeconfig), "MODULES": str(folder / "modules")}
    done = subprocess.run(arguments, check=False, capture_output=True, text=True, env=os.environ | own)
    modules = (folder / "modules").read_text().split()
    return {name.partition(".")[0] for name in modules}, done.stdout, done.stderr


def write_kubeconfig(file: Path, url: str) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "prod"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    file.write_text(json.dumps(document))
    return file


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_rollout_in_a_cluster_imports_no_library_of_models_and_servers(
    tmp_path: Path, api: ClusterApi, command: str
) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{api.server.server_port}")
    release = ("2",) if command in {"approve", "promote"} else ()
    imported, shown, problem = run_command(tmp_path, "seldon", command, *release, *COMMANDS[command], kubeconfig=kubeconfig)
    assert not problem
    assert "release 2" in shown or "release 1" in shown
    assert api.written == [command] * (command not in {"status", "approve"})  # the running rollout is approved already
    assert not imported & {*OF_MODELS, *OF_SERVERS, *OF_CLUSTERS}
    if command == "rollback":
        assert re.search(r"rolled back +release 2 .*\nserves now +release 1 ", shown)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_rollout_on_a_laptop_imports_no_library_of_models_servers_and_clusters(
    tmp_path: Path, make_layer: Callable[[int], Path], command: str
) -> None:
    """Its releases are in the store, and the supervisor of this test carries out a rollback."""
    releases = [ReleaseStore(tmp_path / ".sluice" / "releases").add(make_layer(number)) for number in (1, 2)]
    canary = Journal(
        history=(ChampionTerm(release=releases[0].digest, by="ci", at=1.0),),
        request=Request(id="r", release=releases[1].digest, by="ci", at=time.time(), steps=STEPS),
        approvals=(Approval(release=releases[1].digest, steps=STEPS, by="kim", at=1.0, until=time.time() + 3600),),
        state=State(phase=Phase.STEP, step=0, since=1.0),
        weights={releases[0].digest: 95, releases[1].digest: 5},
        last_request_id="r",
    )
    store = JournalFile(tmp_path / ".sluice" / "rollout")
    store.update(lambda _: canary)
    release = ("2",) if command in {"approve", "promote"} else ()
    with store.alive_path.open("wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        supervisor = threading.Thread(target=carry_out_a_rollback, args=(store, canary), daemon=True)
        supervisor.start()
        imported, shown, problem = run_command(tmp_path, "envoy", command, *release, *COMMANDS[command])
    assert not problem
    assert "release 2" in shown
    assert not imported & {*OF_MODELS, *OF_SERVERS, *OF_CLUSTERS}


def carry_out_a_rollback(store: JournalFile, before: Journal) -> None:
    """Do what a supervisor does with a command to roll back."""
    while (command := store.read().command) is None or command.kind is not CommandKind.ROLLBACK:
        time.sleep(0.02)
    store.update(lambda journal: roll_back(journal, command, before.target or ""))


def roll_back(journal: Journal, command: Command, canary: str) -> Journal:
    done = Transition(
        time=command.at,
        from_state="step-1",
        to_state="rolled_back",
        reason="rolled back by kim",
        release=canary,
        weights={command.target: 100, canary: 0},
        decided_at=command.at,
        applied_at=command.at,
        command_id=command.id,
    )
    ended = EndedRollout(
        id="r",
        release=canary,
        stable=command.target,
        outcome=Phase.ROLLED_BACK,
        reason=done.reason,
        by="ci",
        started=1.0,
        ended=command.at,
        number=2,
    )
    return Journal(
        history=journal.history, transitions=(done,), rollouts=(ended,), last_command_at=command.at, last_command_id=command.id
    )
