"""The steps that run the four test layers, one step for each layer."""

from __future__ import annotations

import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.checks.layers import LayerInputs, LayerResult, run_layer
from sluice.checks.verdict_text import describe_verdict
from sluice.errors import CheckFailedError
from sluice.project.projects import read_project
from sluice.release.model_layer import MODEL_FILE
from sluice.release.models.model_files import read_released_digest
from sluice.release.project_releases import open_releases
from sluice.steps.champions import read_champion_of_run
from sluice.steps.curves import measure_curves
from sluice.steps.records import record_part, run_folder, running_step
from sluice.steps.snapshots import restore_snapshot
from sluice.steps.training import verify_model
from sluice.verdicts import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


RocLists = tuple[list[float], list[float], list[float]]
"""False positive rates, true positive rates, thresholds."""

_ALLOWANCE_HINT = (
    "If production does not depend on {what}, allow {what_again} in sluice.toml, under [tests.allow_inconclusive]: {checks}."
)

ArtifactInput = tuple[str, "Mapping[str, Any]"]
"""A KFP artifact as a step gets it: its local path and its metadata."""


def run_tests(
    layer: str,
    outputs: Mapping[str, str],
    *,
    snapshot: ArtifactInput | None = None,
    model: ArtifactInput | None = None,
    release: str | None = None,
    alongside: Callable[[], object] | None = None,
) -> dict[str, float]:
    """Run a layer, and write its results as artifacts.

    Args:
        layer: ``code``, ``data``, ``model`` or ``integration``.
        outputs: Paths to write: ``verdicts`` (JSON), ``page`` (HTML) and ``junit`` (XML).
        snapshot: The pinned snapshot, for the layers that read it.
        model: The fitted model, for the model layer.
        release: The release's digest, for the integration layer.
        alongside: Called if no check blocks, as a part of the step, so that the step fails with its error.

    Returns:
        The layer's numbers, for KFP metrics.

    Raises:
        CheckFailedError: A check failed, or is inconclusive and may not be. The message names it, and the artifacts are written
            nevertheless.
    """
    project = read_project()
    with running_step(f"{layer}-tests") as step, _results_folder(layer) as folder:
        champion = read_champion_of_run(project, model[1]) if model else None
        served = open_releases(project).unpack(champion.digest) if champion else None
        inputs = LayerInputs(
            snapshot=restore_snapshot(project, Path(snapshot[0]), snapshot[1]) if snapshot else None,
            model=verify_model(Path(model[0]), model[1]) if model else None,
            model_digest=str(model[1]["digest"]) if model else None,
            release=release,
            champion=served / MODEL_FILE if served else None,
            champion_digest=read_released_digest(served, champion.digest) if served and champion else None,
        )
        result = run_layer(project, layer, inputs, folder)
        record_part(f"layer-{layer}", result.to_dict())
        _write_artifacts(result, outputs)
        step.detail = summarise_checks(result)
        raise_if_blocked(result, kept=run_folder() is not None)
        if alongside is not None:
            alongside()
    return result.metrics()


def run_model_tests(outputs: Mapping[str, str], model: ArtifactInput, curves: str) -> tuple[dict[str, float], RocLists]:
    """Run the model layer, and measure the curves at the same time. The suite of the layer runs in its own process.

    Args:
        outputs: Paths to write, as in `run_tests`.
        model: The fitted model.
        curves: Path to write the challenger's curves to (JSON).

    Returns:
        The layer's numbers, and the ROC as `measure_curves` returns it.

    Raises:
        CheckFailedError: A check failed, or is inconclusive and may not be.
        DataError: The curves cannot be measured, because the test rows have only one label.
        IntegrityError: The model does not have the digest that training recorded.
    """
    with ThreadPoolExecutor(1) as executor:
        measured = executor.submit(measure_curves, model[0], model[1], curves)
        numbers = run_tests("model", outputs, model=model, alongside=measured.result)
    return numbers, measured.result()


def summarise_checks(result: LayerResult) -> str:
    """Return one line: how many checks there are, and how many of them are not a plain pass."""
    outcomes = [verdict.outcome for verdict in result.verdicts]
    parts = [f"{len(outcomes)} check{'' if len(outcomes) == 1 else 's'}"]
    allowed = sum(bool(verdict.allowed) for verdict in result.verdicts)
    counts = {
        Outcome.FAIL.value: outcomes.count(Outcome.FAIL),
        Outcome.INCONCLUSIVE.value: outcomes.count(Outcome.INCONCLUSIVE) - allowed,
        "inconclusive but allowed": allowed,
        "unproven": sum(verdict.unproven for verdict in result.verdicts),
    }
    return ", ".join(parts + [f"{count} {what}" for what, count in counts.items() if count])


def raise_if_blocked(result: LayerResult, *, kept: bool = True) -> None:
    """Raise an error if the layer keeps the release from production.

    The message names the first check that does so. The hint names all checks that are inconclusive, so that a person can decide
    about them after one run.

    Args:
        result: The result of the layer.
        kept: Whether its folder stays when the step has ended. In a pod it does not.

    Raises:
        CheckFailedError: A check failed, or is inconclusive without a reason why it may be.
    """
    blocking = [verdict for verdict in result.verdicts if verdict.blocks]
    if not blocking:
        return
    first = next((verdict for verdict in blocking if verdict.failed), blocking[0])
    more = f" (and {len(blocking) - 1} more check{'' if len(blocking) == 2 else 's'})" if len(blocking) > 1 else ""  # noqa: PLR2004 - the first check and one more
    how = "failed" if first.failed else "are inconclusive"
    page = str(result.folder / "report.html") if kept else "`sluice report` of this run"
    look = f"Look at {page}, or run `sluice test {result.layer}`."
    raise CheckFailedError(
        f"{result.layer} tests {how}: {describe_verdict(first)}{more}",
        hint=" ".join(part for part in (look, _advise_on_allowances(blocking)) if part),
    )


def _advise_on_allowances(blocking: list[Verdict]) -> str:
    """Say how a person can allow the checks that are inconclusive; empty if none is."""
    names = [verdict.check for verdict in blocking if not verdict.failed]
    if not names:
        return ""
    what, again = ("this check", "it") if len(names) == 1 else (f"these {len(names)} inconclusive checks", "them")
    lines = ", ".join(f'{json.dumps(name)} = "the reason"' for name in names)
    return _ALLOWANCE_HINT.format(what=what, what_again=again, checks=lines)


@contextmanager
def _results_folder(layer: str) -> Iterator[Path]:
    """Yield the layer's folder in the run. Outside a run it is a temporary folder that is deleted when the step ends."""
    run = run_folder()
    if run is not None:
        folder = run / "layers" / layer
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix=f"sluice-{layer}-") as name:
        yield Path(name)


def _write_artifacts(result: LayerResult, outputs: Mapping[str, str]) -> None:
    """Copy the layer's page and JUnit file to the paths that the pipeline gives, and write the verdicts as JSON."""
    for key, name in (("page", "report.html"), ("junit", "junit.xml")):
        if key in outputs:
            Path(outputs[key]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(result.folder / name, outputs[key])
    if "verdicts" in outputs:
        Path(outputs["verdicts"]).parent.mkdir(parents=True, exist_ok=True)
        Path(outputs["verdicts"]).write_text(json.dumps(result.to_dict()), encoding="utf-8")
