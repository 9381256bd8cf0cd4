"""The newest snapshot: which file a pattern means, what a command prints, and everything that is refused."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

import fsspec
import pytest

from sluice.data.locations import is_pattern, pick_newest, resolve_snapshot
from sluice.errors import ConfigurationError, DataError
from sluice.project.projects import Project, read_project


def change(depot: Project, old: str, new: str) -> Project:
    """Replace a line of sluice.toml."""
    file = depot.root / "sluice.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    return read_project(depot.root)


def with_snapshot(depot: Project, snapshot: str) -> Project:
    return change(depot, 'snapshot = "customers.csv"', f'snapshot = "{snapshot}"')


def with_command(depot: Project, program: str, *, seconds: float | None = None) -> Project:
    limit = f"\nsnapshot_command_seconds = {seconds}" if seconds else ""
    words = ", ".join(f"'''{word}'''" for word in (sys.executable, "-c", program))
    return change(depot, 'snapshot = "customers.csv"', f"snapshot_command = [{words}]{limit}")


def put(depot: Project, *names: str) -> None:
    for name in names:
        file = depot.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["v9.csv", "v10.csv", "v2.csv"], "v10.csv"),
        (["c-2026-09-30.csv", "c-2026-10-01.csv"], "c-2026-10-01.csv"),
        (["week=9/part.csv", "week=10/part.csv"], "week=10/part.csv"),
        (["a/z.csv", "b/a.csv"], "b/a.csv"),
        (["x1-y20.csv", "x1-y3.csv", "x01-y1.csv"], "x1-y20.csv"),
        (["a.csv", "1.csv"], "a.csv"),
        (["1.csv", "01.csv"], "1.csv"),
    ],
)
def test_the_newest_name_is_the_last_one_in_natural_order(names: list[str], newest: str) -> None:
    assert pick_newest(names) == pick_newest(names[::-1]) == newest


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("data/customers.csv", False),
        ("data/customers-*.csv", True),
        ("data/customers-202?.csv", True),
        ("data/customers-[0-9].csv", True),
        ("s3://bucket/customers/dt=*/data.parquet", True),
        ("s3://bucket/customers-202?.parquet", True),
        ("s3://bucket/customers.parquet?versionId=3", False),
        ("s3://bucket/customers-*.parquet?versionId=3", True),
        ("https://host/customers.csv?signature=a*b[c", False),
        ("https://host/customers.csv#*", False),
    ],
)
def test_a_location_with_a_wildcard_outside_the_query_of_a_url_is_a_pattern(location: str, expected: bool) -> None:
    assert is_pattern(location) is expected


def test_a_pattern_of_a_path_means_the_last_name_and_never_the_last_change(depot: Project) -> None:
    put(depot, "exports/c-9.csv", "exports/c-10.csv", "exports/c-8.csv", "exports/notes.txt")
    os.utime(depot.root / "exports" / "c-8.csv", (time.time() + 99, time.time() + 99))
    found = resolve_snapshot(with_snapshot(depot, "exports/c-*.csv"))
    assert (found.name, found.configured) == ("exports/c-10.csv", True)
    assert found.origin == "the last of 3 that match exports/c-*.csv"
    absolute = resolve_snapshot(depot, str(depot.root / "exports" / "c-?.csv"))
    assert (absolute.name, absolute.configured) == (str(depot.root / "exports" / "c-9.csv"), False)
    assert resolve_snapshot(depot, "**/c-10.csv").origin == "the only one that matches **/c-10.csv"


def test_a_file_whose_name_has_brackets_is_that_file_and_no_pattern(depot: Project) -> None:
    put(depot, "customers[1].csv", "customers1.csv")
    found = resolve_snapshot(with_snapshot(depot, "customers[1].csv"))
    assert (found.name, found.origin) == ("customers[1].csv", "")


def test_a_named_location_stays_as_it_is_even_if_it_does_not_exist(depot: Project) -> None:
    assert resolve_snapshot(depot).name == "customers.csv"
    assert resolve_snapshot(depot, "s3://bucket/a.csv?versionId=3").name == "s3://bucket/a.csv?versionId=3"


def test_a_pattern_of_a_url_means_the_last_name_in_its_own_spelling(depot: Project) -> None:
    for day in (9, 10, 2):
        with fsspec.open(f"memory://newest/customers/dt={day}/data.csv", "wb") as file:
            file.write(b"x")
    found = resolve_snapshot(depot, "memory://newest/customers/dt=*/data.csv")
    assert found.name == "memory://newest/customers/dt=10/data.csv"
    with fsspec.open(found.name, "rb") as file:
        assert file.read() == b"x"
    assert resolve_snapshot(depot, f"file://{depot.root}/*.py").name == f"file://{depot.root}/depot.py"


@pytest.mark.parametrize(
    ("pattern", "message", "hint"),
    [
        ("exports/none-*.csv", r"the pattern exports/none-\*\.csv matches no file and no folder", "an export has arrived"),
        ("exports/.*", r"matches no file and no folder", "an export has arrived"),
        ("memory://nowhere/c-*.csv", r"the pattern memory://nowhere/c-\*\.csv matches no file", "an export has arrived"),
        ("nosuch://bucket/c-*.csv", r"cannot look for nosuch://bucket/c-\*\.csv: ValueError", "need another library"),
    ],
)
def test_a_pattern_that_leads_nowhere_is_refused(depot: Project, pattern: str, message: str, hint: str) -> None:
    put(depot, "exports/folder/c.csv")
    with pytest.raises(DataError, match=message) as refused:
        resolve_snapshot(with_snapshot(depot, pattern))
    assert hint in refused.value.hint


def test_a_pattern_means_folders_if_no_file_matches_and_skips_markers(depot: Project) -> None:
    put(depot, "exports/dt=9/a.parquet", "exports/dt=10/a.parquet", "exports/_SUCCESS", "exports/_tmp/a.parquet")
    assert resolve_snapshot(depot, "exports/*").name == "exports/dt=10"
    put(depot, "exports/z.parquet")
    assert resolve_snapshot(depot, "exports/*").name == "exports/z.parquet", "a file comes before folders"
    assert resolve_snapshot(depot, "exports/_*").name == "exports/_SUCCESS", "the pattern asks for it"
    for name in ("dt=9/a.parquet", "dt=10/a.parquet", "_SUCCESS"):
        with fsspec.open(f"memory://parts/customers/{name}", "wb") as file:
            file.write(b"x")
    for pattern in ("memory://parts/customers/*", "memory://parts/customers/dt=*/"):
        assert resolve_snapshot(depot, pattern).name == "memory://parts/customers/dt=10/"


def test_a_folder_that_contains_the_holdout_is_refused(depot: Project) -> None:
    put(depot, "all-2/c.parquet")
    (depot.root / "all-1").mkdir()
    (depot.root / "holdout.csv").rename(depot.root / "all-1" / "holdout.csv")
    project = change(depot, 'holdout = "holdout.csv"', 'holdout = "all-1/holdout.csv"')
    with pytest.raises(ConfigurationError, match="also matches the holdout"):
        resolve_snapshot(project, "all-*")
    with pytest.raises(ConfigurationError, match="are a folder and a file inside it"):
        with_snapshot(project, "all-1")
    inside = change(depot, 'holdout = "all-1/holdout.csv"', 'holdout = "s3://bucket/all/holdout.csv"')
    with pytest.raises(ConfigurationError, match="are a folder and a file inside it"):
        change(inside, 'snapshot = "all-1"', 'snapshot = "s3://bucket/all/"')


def test_a_pattern_in_a_chained_url_is_refused(depot: Project) -> None:
    with pytest.raises(ConfigurationError, match=r"the chained URL zip://\*\.csv::data/b\.zip contains a wildcard") as refused:
        resolve_snapshot(with_snapshot(depot, "zip://*.csv::data/b.zip"))
    assert "data.snapshot_command" in refused.value.hint


def test_messages_about_a_pattern_show_no_credentials(depot: Project) -> None:
    with pytest.raises(DataError) as refused:
        resolve_snapshot(depot, "memory://ann:secret@nowhere/c-*.csv")
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("pattern", ["*.csv", "{root}/ho*.csv", "file://{root}/ho*.csv"])
def test_a_pattern_that_also_matches_the_holdout_is_refused_although_it_is_not_the_newest(depot: Project, pattern: str) -> None:
    put(depot, "z-newest.csv")
    with pytest.raises(
        ConfigurationError, match=r"also matches the holdout holdout\.csv, so a model could be trained"
    ) as refused:
        resolve_snapshot(with_snapshot(depot, pattern.format(root=depot.root)))
    assert "narrower" in refused.value.hint


def test_a_link_to_the_holdout_among_the_matches_is_refused(depot: Project) -> None:
    put(depot, "c-2.csv")
    (depot.root / "c-1.csv").symlink_to(depot.root / "holdout.csv")
    with pytest.raises(ConfigurationError, match="also matches the holdout"):
        resolve_snapshot(with_snapshot(depot, "c-*.csv"))


def test_a_url_of_the_holdout_among_the_matches_is_refused(depot: Project) -> None:
    for name in ("a-1", "a-2"):
        with fsspec.open(f"memory://held/{name}.csv", "wb") as file:
            file.write(b"x")
    project = change(depot, 'holdout = "holdout.csv"', 'holdout = "memory://held/a-1.csv"')
    with pytest.raises(ConfigurationError, match=r"also matches the holdout memory://held/a-1\.csv"):
        resolve_snapshot(project, "memory://held/a-*.csv")


def test_a_copy_of_the_holdout_that_is_the_newest_snapshot_is_refused(depot: Project) -> None:
    (depot.root / "c-1.csv").write_bytes((depot.root / "holdout.csv").read_bytes())
    with pytest.raises(ConfigurationError, match=r"'c-1\.csv' and data\.holdout 'holdout\.csv' have the same contents"):
        resolve_snapshot(with_snapshot(depot, "c-*.csv"))
    with pytest.raises(ConfigurationError, match=r"'holdout\.csv' and data\.holdout 'holdout\.csv' are"):
        resolve_snapshot(change(depot, 'snapshot = "c-*.csv"', 'snapshot_command = ["echo", "holdout.csv"]'))


def test_the_last_line_that_the_command_prints_names_the_snapshot(depot: Project) -> None:
    put(depot, "exports/c 3.csv")
    project = with_command(
        depot, "import os; print('log line'); print(' exports/c 3.csv '); print(); assert os.path.exists('depot.py')"
    )
    found = resolve_snapshot(project)
    assert (found.name, found.configured) == ("exports/c 3.csv", True)
    assert found.origin == f"data.snapshot_command ({shlex.join(project.settings.data.snapshot_command)})"
    assert resolve_snapshot(project, "other.csv").name == "other.csv", "an argument takes precedence"


def test_a_url_that_the_command_prints_is_not_taken_for_a_pattern(depot: Project) -> None:
    found = resolve_snapshot(with_command(depot, "print('lakefs://repo/3f2a/c[1]-*.parquet')"))
    assert found.name == "lakefs://repo/3f2a/c[1]-*.parquet"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; print('x'); sys.exit('the stage is not pushed')", r"failed with exit code 1: the stage is not pushed"),
        ("import sys; sys.exit(3)", r"failed with exit code 3: it printed nothing"),
        ("import os; os.kill(os.getpid(), 9)", r"failed with exit code -9: it printed nothing"),
        ("print()", r"printed nothing"),
        ("print('exports/none.csv')", r"printed 'exports/none\.csv', but there is no such file"),
    ],
)
def test_a_command_that_names_no_snapshot_is_refused(depot: Project, program: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^data.snapshot_command .* {message}$") as refused:
        resolve_snapshot(with_command(depot, program))
    assert "Correct data.snapshot_command" in refused.value.hint


def test_a_command_that_does_not_exist_is_refused(depot: Project) -> None:
    project = change(depot, 'snapshot = "customers.csv"', 'snapshot_command = ["no-such-program-here"]')
    with pytest.raises(DataError, match=r"^data.snapshot_command \(no-such-program-here\) cannot be started: FileNotFoundError"):
        resolve_snapshot(project)


def test_a_command_that_hangs_is_ended_with_what_it_started(depot: Project, tmp_path: Path) -> None:
    note = tmp_path / "child"
    child = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    program = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"while not (os.path.exists({str(note)!r}) and os.path.getsize({str(note)!r})): time.sleep(0.01)\n"
        "time.sleep(600)"
    )
    with pytest.raises(DataError, match=r"did not end within 2 s") as refused:
        resolve_snapshot(with_command(depot, program, seconds=2))
    assert "data.snapshot_command_seconds" in refused.value.hint
    deadline = time.monotonic() + 60
    while note.exists() and _runs(int(note.read_text() or 0)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (note.exists() and _runs(int(note.read_text() or 0)))


def _runs(process: int) -> bool:
    """Return whether a process runs. One that nobody has waited for yet has ended too."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('snapshot = "a.csv"\nsnapshot_command = ["echo"]', "snapshot and snapshot_command are both set"),
        ("", "snapshot is missing"),
        ("snapshot_command = []", "snapshot is missing"),
        ('snapshot_command = ["echo"]\nsnapshot_command_seconds = 0', "data.snapshot_command_seconds"),
    ],
)
def test_the_settings_name_exactly_one_source_of_snapshots(depot: Project, line: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        change(depot, 'snapshot = "customers.csv"', line)
