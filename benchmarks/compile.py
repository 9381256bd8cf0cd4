"""Measure the cost of compiling, and compare each figure with its limit.

Run ``python -m benchmarks.compile`` in the project's root. These are the figures:

- The time from IR to Argo for 1,000 tasks, compared with the time that kfp needs to compile the same pipeline to IR.
- The time from IR to Argo for 10,000 tasks, compared with that for 1,000 tasks.
- The size of the YAML of a pipeline with 56 equal steps.
- The time of the process ``sluice compile``, compared with that of ``kfp dsl compile``.

Each time is the shortest of three runs. The two sides of a comparison take turns, so that other load on the machine slows both of
them. The limits apply to the ratios and to the size. If a figure is over its limit, the exit code is 1.
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
MANY_TASKS = 10_000
EQUAL_STEPS = 56
MAX_RATIO_TO_KFP, MAX_RATIO_TO_FEW_TASKS, MAX_BYTES = 0.50, 11, 60 * 1024
ROUNDS = 3
BIN = Path(sys.executable).parent


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def chain(count: int) -> Any:  # noqa: ANN401 - a KFP pipeline
    """Return a pipeline of `count` steps. Each step reads the output of the previous one."""

    @dsl.pipeline(name=f"chain-{count}")
    def pipeline() -> None:
        last = add(a=0, b=1)
        for number in range(1, count):
            last = add(a=number, b=last.output)

    return pipeline


def kfp_compile(pipeline: Any, file: Path) -> None:  # noqa: ANN401 - a KFP pipeline
    """Compile a pipeline to IR with kfp. Most of the work is done earlier, when the pipeline's function is decorated."""
    compiler.Compiler().compile(pipeline, str(file))


def sluice_compile(text: str) -> str:
    """Compile IR to Argo, from YAML text to YAML text."""
    document, refusals = lower_pipeline(parse_ir(text), Options())
    refusals.raise_if_any()
    return to_yaml(document)


def lengthen(text: str, count: int) -> str:
    """Return the IR of a longer chain, made from the IR of a shorter one, because kfp takes minutes for 10,000 tasks."""
    document = yaml.load(text, Loader=yaml.CSafeLoader)
    tasks = document["root"]["dag"]["tasks"]
    names = sorted(tasks, key=lambda name: int(name.partition("-")[2] or 1))
    pattern = tasks[names[2]]
    for number in range(len(names) + 1, count + 1):
        task = yaml.load(yaml.dump(pattern, Dumper=yaml.CSafeDumper), Loader=yaml.CSafeLoader)
        previous = f"add-{number - 1}"
        task["dependentTasks"] = [previous]
        task["inputs"]["parameters"]["a"]["runtimeValue"]["constant"] = float(number - 1)
        task["inputs"]["parameters"]["b"]["taskOutputParameter"]["producerTask"] = previous
        task["taskInfo"]["name"] = f"add-{number}"
        tasks[f"add-{number}"] = task
    return str(yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=True))


def measure_shortest(*calls: Callable[[], object]) -> list[float]:
    """Return the shortest time of each call in seconds. The calls take turns."""
    times = [[] for _ in calls]  # type: list[list[float]]
    for _ in range(ROUNDS):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            times[index].append(time.perf_counter() - start)
    return [min(each) for each in times]


def run(*command: str | Path) -> None:
    """Run a command as a process of its own."""
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def main() -> None:
    """Measure and print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "chain.yaml"
        kfp_compile(chain(TASKS), file)
        text = file.read_text(encoding="utf-8")
        theirs, ours = measure_shortest(lambda: kfp_compile(chain(TASKS), file), lambda: sluice_compile(text))
        print(f"{TASKS:,} tasks: kfp to IR {theirs:.2f} s, IR to Argo {ours:.2f} s, ratio {ours / theirs:.2f} (at most 0.50)")
        over_limit = [ours / theirs > MAX_RATIO_TO_KFP]

        longer = lengthen(text, MANY_TASKS)
        few, many = measure_shortest(lambda: sluice_compile(text), lambda: sluice_compile(longer))
        print(f"{MANY_TASKS:,} tasks: {many:.2f} s, {many / few:.1f} times {TASKS:,} tasks (at most 11)")
        over_limit += [many / few > MAX_RATIO_TO_FEW_TASKS]

        kfp_compile(chain(EQUAL_STEPS), file)
        size = len(sluice_compile(file.read_text(encoding="utf-8")).encode())
        print(f"{EQUAL_STEPS} equal steps: {size / 1024:.1f} KB of YAML (less than 60)")
        over_limit += [size >= MAX_BYTES]

        source = folder / "cold.py"
        source.write_text(COLD, encoding="utf-8")
        run(BIN / "kfp", "dsl", "compile", "--py", source, "--output", file)
        out = folder / "argo.yaml"
        theirs, ours = measure_shortest(
            lambda: run(BIN / "kfp", "dsl", "compile", "--py", source, "--output", file),
            lambda: run(BIN / "sluice", "compile", file, "-o", out),
        )
        print(f"cold start: kfp dsl compile {theirs:.2f} s, sluice compile {ours:.2f} s, ratio {ours / theirs:.2f} (less than 1)")
        over_limit += [ours >= theirs]
    if any(over_limit):
        sys.exit("a figure is over its limit. Run the benchmark again while the machine has no other load.")


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
