"""What compiling costs: IR to Argo beside kfp's own compilation, 10,000 tasks beside 1,000, a cold start beside kfp's.

Run as ``python -m benchmarks.compile`` from the project's root. Times are the least of several runs that take
turns, so that a busy machine slows both sides; what counts are the ratios.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler, dsl

from sluice.argo.compilation import Options
from sluice.argo.objects.workflows import lower_pipeline
from sluice.argo.objects.yaml_text import to_yaml
from sluice.ir.reading import parse_ir

TASKS = 1_000
MANY = 10_000
EQUAL = 56
MOST_OF_KFP, MOST_TIMES, MOST_BYTES = 0.50, 11, 60 * 1024
ROUNDS = 3
BIN = Path(sys.executable).parent


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def add(a: int, b: int) -> int:
    """Something to repeat."""
    return a + b


def chain(count: int) -> Any:  # noqa: ANN401 - a KFP pipeline
    """A pipeline of `count` steps, each of which reads the one before."""

    @dsl.pipeline(name=f"chain-{count}")
    def pipeline() -> None:
        last = add(a=0, b=1)
        for number in range(1, count):
            last = add(a=number, b=last.output)

    return pipeline


def kfp_compile(pipeline: Any, file: Path) -> None:  # noqa: ANN401 - a KFP pipeline
    """KFP's own compilation to IR; most of it happens when the pipeline's function is decorated."""
    compiler.Compiler().compile(pipeline, str(file))


def sluice_compile(text: str) -> str:
    """IR to Argo: from YAML text to YAML text."""
    document, refusals = lower_pipeline(parse_ir(text), Options())
    refusals.raise_if_any()
    return to_yaml(document)


def lengthened(text: str, count: int) -> str:
    """The IR of a longer chain, made from a shorter one's: kfp itself takes minutes for 10,000 tasks."""
    document = yaml.load(text, Loader=yaml.CSafeLoader)
    tasks = document["root"]["dag"]["tasks"]
    names = sorted(tasks, key=lambda name: int(name.partition("-")[2] or 1))
    pattern = tasks[names[2]]
    for number in range(len(names) + 1, count + 1):
        task = yaml.load(yaml.dump(pattern, Dumper=yaml.CSafeDumper), Loader=yaml.CSafeLoader)
        before = f"add-{number - 1}"
        task["dependentTasks"] = [before]
        task["inputs"]["parameters"]["a"]["runtimeValue"]["constant"] = float(number - 1)
        task["inputs"]["parameters"]["b"]["taskOutputParameter"]["producerTask"] = before
        task["taskInfo"]["name"] = f"add-{number}"
        tasks[f"add-{number}"] = task
    return str(yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=True))


def least(*calls: Callable[[], object]) -> list[float]:
    """The least time of each call, in seconds; they take turns."""
    times = [[] for _ in calls]  # type: list[list[float]]
    for _ in range(ROUNDS):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            times[index].append(time.perf_counter() - start)
    return [min(each) for each in times]


def run(*command: str | Path) -> None:
    """A command as a whole process."""
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "chain.yaml"
        kfp_compile(chain(TASKS), file)
        text = file.read_text(encoding="utf-8")
        theirs, ours = least(lambda: kfp_compile(chain(TASKS), file), lambda: sluice_compile(text))
        print(f"{TASKS:,} tasks: kfp to IR {theirs:.2f} s, IR to Argo {ours:.2f} s, ratio {ours / theirs:.2f} (at most 0.50)")
        over = [ours / theirs > MOST_OF_KFP]

        longer = lengthened(text, MANY)
        few, many = least(lambda: sluice_compile(text), lambda: sluice_compile(longer))
        print(f"{MANY:,} tasks: {many:.2f} s, {many / few:.1f} times {TASKS:,} tasks (at most 11)")
        over += [many / few > MOST_TIMES]

        kfp_compile(chain(EQUAL), file)
        size = len(sluice_compile(file.read_text(encoding="utf-8")).encode())
        print(f"{EQUAL} equal steps: {size / 1024:.1f} KB of YAML (less than 60)")
        over += [size >= MOST_BYTES]

        source = folder / "cold.py"
        source.write_text(COLD, encoding="utf-8")
        run(BIN / "kfp", "dsl", "compile", "--py", source, "--output", file)
        out = folder / "argo.yaml"
        theirs, ours = least(
            lambda: run(BIN / "kfp", "dsl", "compile", "--py", source, "--output", file),
            lambda: run(BIN / "sluice", "compile", file, "-o", out),
        )
        print(f"cold start: kfp dsl compile {theirs:.2f} s, sluice compile {ours:.2f} s, ratio {ours / theirs:.2f} (less than 1)")
        over += [ours >= theirs]
    if any(over):
        sys.exit("over a limit: run it again on a quiet machine")


COLD = """
from kfp import dsl

@dsl.component(base_image="python:3.11", install_kfp_package=False)
def add(a: int, b: int) -> int:
    return a + b

@dsl.pipeline(name="cold")
def cold(a: int = 1) -> int:
    return add(a=a, b=2).output
"""

if __name__ == "__main__":
    main()
