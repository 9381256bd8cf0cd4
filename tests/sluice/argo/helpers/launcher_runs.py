"""Run a component behind the launcher as a step's container does it: in a separate process, with the component's command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from sluice.argo.expressions.wire_json import escape_argument, from_wire, launcher_text, to_wire

if TYPE_CHECKING:
    from collections.abc import Iterable

BIN = str(Path(sys.executable).parent)
MODEL = {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}


@dataclass
class Run:
    """The result of a run.

    Attributes:
        code: Exit code of the launcher.
        stdout: Standard output.
        stderr: Standard error.
        folder: Folder of the run.
        texts: Output → its wire JSON.
    """

    code: int
    stdout: str
    stderr: str
    folder: Path
    texts: dict[str, str] = field(default_factory=dict)

    def value(self, name: str) -> Any:
        return from_wire(self.texts[name])


@dataclass
class Launched:
    """Runs commands behind the launcher, each in a separate folder."""

    folder: Path
    count: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    def spec(
        self,
        *,
        inputs: dict[str, Any] | None = None,
        types: dict[str, str] | None = None,
        outputs: dict[str, str] | None = None,
        artifacts: dict[str, Any] | None = None,
        made: Iterable[str] = (),
    ) -> dict[str, Any]:
        """Return the launcher's argument INPUT with plain values instead of wire JSON; `made` names the output artifacts."""
        self.count += 1
        root = self.folder / str(self.count)
        outputs = outputs or {}
        return {
            "executor": {
                "inputs": {"parameterValues": inputs or {}, "artifacts": artifacts or {}},
                "outputs": {
                    "parameters": {name: {"outputFile": str(root / "outputs" / name)} for name in outputs},
                    "artifacts": {
                        name: {
                            "artifacts": [{"name": name, "type": MODEL, "uri": str(root / "made" / name), "metadata": {"a": 1}}]
                        }
                        for name in made
                    },
                    "outputFile": str(root / "task" / "executor_output.json"),
                },
            },
            "types": types or {},
            "outputs": outputs,
            "wire": str(root / "wire"),
        }

    def command(self, spec: dict[str, Any], original: Iterable[str]) -> list[str]:
        return [f"{BIN}/python3", "-c", launcher_text(), input_text(spec), *map(escape_argument, original)]

    def run(self, spec: dict[str, Any], original: Iterable[str], *, offloaded: bool = False) -> Run:
        """Run the command line of a component. If `offloaded` is true, INPUT is in a file, as Argo does it for long arguments."""
        command = self.command(spec, original)
        file = Path(f"/tmp/argo_arg_{os.getpid()}{self.count}.txt")  # noqa: S108 - Argo uses this folder
        try:
            if offloaded:
                file.write_text(command[3], encoding="utf-8")
                command[3] = f"@{file}"
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environ(), timeout=300)
        finally:
            file.unlink(missing_ok=True)
        folder = Path(spec["wire"])
        texts = {each.name: each.read_text(encoding="ascii") for each in folder.iterdir()} if folder.exists() else {}
        return Run(done.returncode, done.stdout, done.stderr, folder.parent, texts)

    def call(self, component: Any, inputs: dict[str, Any] | None = None, *, offloaded: bool = False, **spec: Any) -> Run:
        """Run a ``@dsl.component``. Its types and its command line are those that kfp compiles."""
        text, command = compiled(component)
        types = {name: raw["parameterType"] for name, raw in text["inputs"].items()}
        outputs = {name: raw["parameterType"] for name, raw in text["outputs"].items()}
        return self.run(
            self.spec(inputs=inputs, types=types, outputs=outputs, made=text["made"], **spec), command, offloaded=offloaded
        )

    def environ(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **self.environment}


def input_text(spec: dict[str, Any]) -> str:
    """Return INPUT as Argo fills it, with each value as wire JSON."""
    executor = spec["executor"]
    inputs = {
        kind: "{" + ", ".join(f"{json.dumps(name)}: {to_wire(value)}" for name, value in values.items()) + "}"
        for kind, values in executor["inputs"].items()
    }
    given = ", ".join(f'"{kind}": {text}' for kind, text in inputs.items())
    rest = {key: value for key, value in spec.items() if key != "executor"}
    return f'{{"executor": {{"inputs": {{{given}}}, "outputs": {json.dumps(executor["outputs"])}}}, ' + json.dumps(
        rest
    ).removeprefix("{")


def compiled(component: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the inputs and outputs of a component and its command line, as kfp compiles them."""
    spec = MessageToDict(component.pipeline_spec)
    name = next(iter(spec["components"]))
    interface, container = spec["components"][name], next(iter(spec["deploymentSpec"]["executors"].values()))["container"]
    outputs = interface.get("outputDefinitions", {})
    found = {
        "inputs": interface.get("inputDefinitions", {}).get("parameters", {}),
        "outputs": outputs.get("parameters", {}),
        "made": list(outputs.get("artifacts", {})),
    }
    return found, [*container.get("command", []), *container.get("args", [])]
