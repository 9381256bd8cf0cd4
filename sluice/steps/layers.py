"""The steps that run one of the four test layers, each a job of its own."""

from __future__ import annotations

import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.checks.layers import LayerInputs, LayerResult, run_layer
from sluice.errors import CheckFailedError
from sluice.project.projects import read_project
from sluice.steps.curves import measure_curves
from sluice.steps.records import record_part, run_folder, running_step
from sluice.steps.snapshots import restore_snapshot
from sluice.steps.training import verify_model
from sluice.verdicts import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RocLists = tuple[list[float], list[float], list[float]]
"""False positive rates, true positive rates, thresholds."""

ArtifactInput = tuple[str, "Mapping[str, Any]"]
"""A KFP artifact as a step body gets it: its local path and its metadata."""


def run_tests(
    layer: str,
    outputs: Mapping[str, str],
    *,
    snapshot: ArtifactInput | None = None,
    model: ArtifactInput | None = None,
    release: str | None = None,
) -> dict[str, float]:
    """Run a layer and leave its results as artifacts.

    Args:
        layer: ``code``, ``data``, ``model`` or ``integration``.
        outputs: Paths to write: ``verdicts`` (JSON), ``page`` (HTML) and ``junit`` (XML).
        snapshot: The pinned snapshot, for the layers that read it.
        model: The fitted model, for the model layer.
        release: The release's digest, for the integration layer.

    Returns:
        The layer's numbers, for KFP metrics.

    Raises:
        CheckFailedError: A check said no; the message names it. The artifacts are written all the same.
    """
    project = read_project()
    with running_step(f"{layer}-tests") as step, _results_folder(layer) as folder:
        inputs = LayerInputs(
            snapshot=restore_snapshot(project, Path(snapshot[0]), snapshot[1]) if snapshot else None,
            model=verify_model(Path(model[0]), model[1]) if model else None,
            release=release,
        )
        result = run_layer(project, layer, inputs, folder)
        record_part(f"layer-{layer}", result.to_dict())
        _write_artifacts(result, outputs)
        step.detail = summary(result)
        raise_if_failed(result)
    return result.metrics()


def run_model_tests(outputs: Mapping[str, str], model: ArtifactInput, curves: str) -> tuple[dict[str, float], RocLists]:
    """Run the model layer, and measure the curves while its suite runs in a process of its own.

    Args:
        outputs: As in `run_tests`.
        model: The fitted model.
        curves: Where the challenger's curves go (JSON).

    Returns:
        The layer's numbers, and the ROC as `measure_curves` gives it.

    Raises:
        CheckFailedError: A check said no.
        IntegrityError: The model's bytes are not those that were trained.
    """
    with ThreadPoolExecutor(1) as beside:
        measured = beside.submit(measure_curves, model[0], model[1], curves)
        numbers = run_tests("model", outputs, model=model)
    return numbers, measured.result()


def summary(result: LayerResult) -> str:
    """One line for a person: how many checks, and how many were not a plain pass."""
    outcomes = [verdict.outcome for verdict in result.verdicts]
    parts = [f"{len(outcomes)} check{'' if len(outcomes) == 1 else 's'}"]
    parts += [
        f"{outcomes.count(outcome)} {outcome.value}" for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE) if outcome in outcomes
    ]
    unproven = sum(verdict.unproven for verdict in result.verdicts)
    return ", ".join(parts + ([f"{unproven} unproven"] if unproven else []))


def raise_if_failed(result: LayerResult) -> None:
    """Turn a failed layer into an error that names its checks.

    Raises:
        CheckFailedError: At least one check failed.
    """
    failed = [verdict for verdict in result.verdicts if verdict.failed]
    if result.outcome is not Outcome.FAIL:
        return
    first = failed[0]
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    raise CheckFailedError(
        f"layer {result.layer}: {first.check}{more} failed: {first.detail}".rstrip(": "),
        hint=f"Look at {result.folder / 'report.html'} or run `sluice test {result.layer}`.",
    )


@contextmanager
def _results_folder(layer: str) -> Iterator[Path]:
    """The run's own folder where there is a run, else one that goes away with the step."""
    run = run_folder()
    if run is not None:
        folder = run / "layers" / layer
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix=f"sluice-{layer}-") as name:
        yield Path(name)


def _write_artifacts(result: LayerResult, outputs: Mapping[str, str]) -> None:
    """Copy the layer's page and JUnit file to where the pipeline wants them; verdicts as JSON."""
    for key, name in (("page", "report.html"), ("junit", "junit.xml")):
        if key in outputs:
            Path(outputs[key]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(result.folder / name, outputs[key])
    if "verdicts" in outputs:
        Path(outputs["verdicts"]).parent.mkdir(parents=True, exist_ok=True)
        Path(outputs["verdicts"]).write_text(json.dumps(result.to_dict()), encoding="utf-8")
