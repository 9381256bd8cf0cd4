"""Components that use artifacts, fail, wait or need a resource, and containers without Python."""

# No `from __future__ import annotations`, because kfp reads the annotations. They are written as in kfp's documentation.
# ruff: noqa: ANN201, UP006, UP035, UP045

from typing import List, Optional

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output
from value_samples import SHELL, component, samples


@component()
def fail(text: str) -> str:
    raise RuntimeError(text)


@component()
def tell_status(text: str, name: str, status: dsl.PipelineTaskFinalStatus) -> str:
    assert text == samples()[name], text
    return f"{status.state} {status.pipeline_task_name}"


@component()
def make_file(text: str, out: Output[Dataset], number: int = 3):
    from pathlib import Path

    Path(out.path).write_text(text)
    out.metadata.update(
        {"text": samples()["tags"] + samples()["dollars"], "big": 2**53 + 1, "real": 3.0, "n": number, "in": {"a": [None]}}
    )


@component()
def make_folder(out: Output[Model]):
    from pathlib import Path

    for name, content in (("a.txt", "a"), ("in/b.bin", "b" * 1000), ("in/deeper/empty", "")):
        file = Path(out.path) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


@component()
def check_file(found: Input[Dataset], text: str, number: int = 3) -> str:
    from pathlib import Path

    assert Path(found.path).read_text() == text
    expected = {"text": samples()["tags"] + samples()["dollars"], "big": 2**53 + 1, "real": 3.0, "n": number, "in": {"a": [None]}}
    assert repr(sorted(found.metadata.items())) == repr(sorted(expected.items())), found.metadata
    return text


@component()
def check_folder(found: Input[Model]) -> List[str]:
    from pathlib import Path

    root = Path(found.path)
    files = sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())
    assert (root / "in/b.bin").read_text() == "b" * 1000
    return files


@component()
def look(found: Optional[Input[Artifact]] = None) -> str:
    return "nothing" if found is None else "something"


@component()
def join_two(one: Input[Dataset], other: Input[Dataset]) -> str:
    from pathlib import Path

    return Path(one.path).read_text() + Path(other.path).read_text()


@component()
def join_lists(one: Input[List[Dataset]], other: Input[List[Dataset]]) -> str:
    from pathlib import Path

    return "".join(Path(each.path).read_text() for each in [*one, *other])


@component()
def join_files(found: Input[List[Dataset]]) -> str:
    from pathlib import Path

    return ",".join(f"{Path(each.path).read_text()}:{each.metadata['n']}" for each in found)


@component()
def rewrite(found: Input[Dataset], folder: Input[Model], out: Output[Dataset]) -> int:
    import os
    from pathlib import Path

    assert (Path(folder.path) / "a.txt").read_text() == "a"
    Path(out.path).write_text(Path(found.path).read_text() + " again")
    return os.getuid()


@component()
def read_file(found: Input[Dataset]) -> str:
    from pathlib import Path

    return Path(found.path).read_text()


@component()
def fail_once(marker: str) -> str:
    from pathlib import Path

    file = Path("/marker") / marker
    if not file.exists():
        file.write_text("")
        raise RuntimeError("the first time")
    file.unlink()
    return "the second time"


@component()
def sleep(seconds: int) -> int:
    import time

    time.sleep(seconds)
    return seconds


@component()
def now() -> float:
    import time

    return time.time()


@component()
def later(first: float) -> float:
    return first + 1


@component()
def memory() -> str:
    return "96Mi"


@dsl.container_component
def shell_echo(text: str, told: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image=SHELL, command=["sh", "-c", 'mkdir -p "$(dirname "$1")" && printf "%s" "$0" > "$1"'], args=[text, told]
    )


@dsl.container_component
def shell_list(numbers: list, told: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image=SHELL,
        command=["sh", "-c", 'mkdir -p "$(dirname "$1")" && printf "%s" "$0" > "$1"'],
        args=[numbers, told],
    )


@dsl.container_component
def shell_join(text: str, told: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image=SHELL,
        command=["sh", "-c", 'mkdir -p "$(dirname "$1")" && printf "%s" "$0" > "$1"'],
        args=[dsl.ConcatPlaceholder([text, "{{workflow.name}} $(HOME)"]), told],
    )


@dsl.container_component
def shell_give(told: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image=SHELL,
        command=["sh", "-c"],
        args=[
            """printf '%s' "$1" > "$2"; : '{{workflow.name}} $(HOME)'""",
            "sh",
            'a "b" {{workflow.name}} {{=1+1}} $(HOME) \n\\',
            told,
        ],
    )


@dsl.container_component
def shell_upper(found: Input[Dataset], out: Output[Dataset]):
    return dsl.ContainerSpec(image=SHELL, command=["sh", "-c", 'tr a-z A-Z < "$0" > "$1"'], args=[found.path, out.path])


@component()
def say_elsewhere(out: Output[Dataset]):
    out.uri = "gs://bucket/somewhere/else"


@component()
def told_uri(found: Input[Dataset]) -> str:
    return found.uri


@dsl.container_component
def shell_words(real: float, whole: int, text: str, told: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image=SHELL,
        command=["sh", "-c", 'mkdir -p "$(dirname "$3")"; printf "%s|" "$0" "$1" "$2" > "$3"'],
        args=[real, whole, text, told],
    )


@dsl.container_component
def shell_maybe(told: dsl.OutputPath(str), first: Optional[str] = None, second: Optional[str] = None):
    inner = dsl.IfPresentPlaceholder("second", then=["--second", second], else_=["--no-second"])
    return dsl.ContainerSpec(
        image=SHELL,
        command=["sh", "-c", 'mkdir -p "$(dirname "$0")"; file="$0"; printf "%s|" "$@" > "$file"'],
        args=[told, dsl.IfPresentPlaceholder("first", then=["--first", first, inner], else_=["--no-first"])],
    )
