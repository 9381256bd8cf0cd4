"""Several processes write to one store at the same time, and processes are killed while they write."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from sluice.release.store.releases import ReleaseStore

ADD = """\
import sys
from pathlib import Path
from sluice.release.store.releases import ReleaseStore
store = ReleaseStore(Path(sys.argv[1]))
print("go", flush=True)
sys.stdin.readline()
for name in sys.argv[2:]:
    release = store.add(Path(name))
    store.attach(release.digest, "note", {"by": sys.argv[2]})
    store.tag("champion", release.digest)
    store.unpack(release.digest)
    print(release.number, release.digest, flush=True)
"""


def make_layers(layer: Path, folder: Path, count: int, *, megabytes: int = 0) -> list[Path]:
    layers = []
    for number in range(count):
        copy = shutil.copytree(layer, folder / f"layer-{number}", ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "ballast").write_bytes(os.urandom(1 << 20) * megabytes + bytes([number]))
        layers.append(copy)
    return layers


def start(store: ReleaseStore, layers: list[Path]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ADD, str(store.layout.folder), *map(str, layers)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "go\n"
    return child


def test_concurrent_processes_add_releases(store: ReleaseStore, layer: Path, tmp_path: Path) -> None:
    layers = make_layers(layer, tmp_path, 6)
    children = [start(store, order) for order in (layers, layers[::-1], layers[3:] + layers[:3])]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    printed = [dict(reversed(line.split()) for line in child.communicate()[0].splitlines()) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert printed[0] == printed[1] == printed[2]
    assert sorted(printed[0].values()) == list("123456")
    assert {release.digest: str(release.number) for release in store.list()} == printed[0]
    assert sum("champion" in release.tags for release in store.list()) == 1
    assert not any(verdict.failed for release in store.list() for verdict in store.verify(release.digest))
    assert len(store.attachments(store.get("1").digest)) == 1 + len({layers[0], layers[-1], layers[3]})
    assert sorted(path.name for path in store.unpacked.iterdir()) == sorted(digest[7:] for digest in printed[0])


@pytest.mark.slow
def test_a_store_still_works_after_writers_were_killed(store: ReleaseStore, layer: Path, tmp_path: Path) -> None:
    layers = make_layers(layer, tmp_path, 3, megabytes=8)
    moments = random.Random(5)  # noqa: S311 - it chooses times, not secrets
    stages = set()
    for _ in range(25):
        child = start(store, layers)
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        time.sleep(moments.uniform(0, 0.25))
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        stages.add((len(store.list()), any(store.layout.folder.rglob(".draft-*"))))
        for release in store.list():
            assert not any(verdict.failed for verdict in store.verify(release.digest))
    assert len(stages) > 1  # the kills hit more than one stage
    added = [store.add(path) for path in layers]
    assert sorted(release.number for release in added) == sorted({release.number for release in store.list()})
    for release in added:
        store.unpack(release.digest)
        assert not any(verdict.failed for verdict in store.verify(release.digest))
    assert not list(store.layout.folder.rglob(".draft-*"))
    store.prune(1)
    assert len(store.list()) <= 2


def test_a_killed_writer_does_not_keep_the_lock(store: ReleaseStore, layer: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from sluice.release.store.layout import Layout\n"
        "with Layout(Path(sys.argv[1])).edit_index() as index:\n"
        "    (Path(sys.argv[1]) / 'blobs/sha256/.draft-half').write_bytes(b'half'); print('held', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", hold, str(store.layout.folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert store.add(layer).number == 1
    assert not list(store.layout.folder.rglob(".draft-*"))
