"""What a server loads and what it refuses. Each test has a process of the serving environment."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from forked_programs import run_forked

from sluice.release.model_layer import layer_digest

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[3]
LIBRARIES = ("pandas", "sklearn.compose", "sklearn.linear_model", "sklearn.pipeline")


def load(folder: Path, digest: str | None = None) -> list[Any]:
    """Load a release in a process of the serving environment that has imported these libraries and nothing of Sluice."""
    program = Path(__file__).with_name("loading_program.py")
    command = [REPOSITORY / ".venv-serving/bin/python", program, REPOSITORY, folder, digest or layer_digest(folder)]
    done = run_forked(command, modules=LIBRARIES, cwd="/", env=os.environ | {"PYTHONSAFEPATH": "1"})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, list)
    return found


def change(file: Path, apply: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(file.read_text())
    apply(values)
    file.write_text(json.dumps(values))


def replace_model(layer: Path, stored: bytes) -> None:
    """Put another model into a layer, and its digest into the manifest."""
    (layer / "model.joblib").write_bytes(stored)
    digest = f"sha256:{hashlib.sha256(stored).hexdigest()}"
    change(layer / "manifest.json", lambda manifest: manifest["model"].update(digest=digest))


class Payload:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.target),)  # type: ignore[return-value]


def test_an_intact_layer_is_loaded(layer_copy: Path) -> None:
    assert load(layer_copy) == ["loaded", "True", True]


def test_requests_are_not_joined_for_a_model_whose_answers_depend_on_other_rows(layer_copy: Path) -> None:
    file = layer_copy / "code" / "parcels" / "features.py"
    text = file.read_text()
    assert text.count('X["items"],') == 1
    file.write_text(text.replace('X["items"],', 'X["items"] + (len(X) < 100),'))
    assert load(layer_copy) == ["loaded", "True", False]


def test_nothing_is_loaded_before_the_digest_was_verified(layer_copy: Path, tmp_path: Path) -> None:
    digest = layer_digest(layer_copy)
    replace_model(layer_copy, pickle.dumps(Payload(tmp_path / "it ran")))
    kind, message, _, code_imported = load(layer_copy, digest)
    assert kind == "IntegrityError"
    assert digest in message
    assert not code_imported
    assert not (tmp_path / "it ran").exists()
    load(layer_copy)  # with its own digest the pickle runs
    assert (tmp_path / "it ran").exists()


def test_a_model_that_the_manifest_does_not_name_is_not_loaded(layer_copy: Path, tmp_path: Path) -> None:
    (layer_copy / "model.joblib").write_bytes(pickle.dumps(Payload(tmp_path / "it ran")))
    kind, message, *_ = load(layer_copy)
    assert kind == "IntegrityError"
    assert "the model has digest" in message
    assert not (tmp_path / "it ran").exists()


def test_edited_code_is_not_imported(layer_copy: Path, tmp_path: Path) -> None:
    digest = layer_digest(layer_copy)
    (layer_copy / "code" / "parcels" / "__init__.py").write_text(f"open({str(tmp_path / 'it ran')!r}, 'w')\n")
    assert load(layer_copy, digest)[0] == "IntegrityError"
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [("python", "3.10.1", "fitted with 3.10.1"), ("machine", "s390x", "machine is"), ("libraries", {"numpy": "1.0"}, "numpy is")],
)
def test_another_environment_is_refused_before_the_model_is_loaded(
    layer_copy: Path, key: str, value: object, reason: str
) -> None:
    change(layer_copy / "manifest.json", lambda manifest: manifest["environment"]["fingerprint"].update({key: value}))
    kind, message, hint, code_imported = load(layer_copy)
    assert (kind, code_imported) == ("RefusedError", False)
    assert reason in message
    assert "same lock files" in hint


def move_golden(golden: dict[str, Any], by: float) -> None:
    golden["expected"][3] += by


def test_a_difference_of_one_bit_is_refused_on_the_same_class_of_processor(layer_copy: Path) -> None:
    expected = json.loads((layer_copy / "golden.json").read_text())["expected"][3]
    change(layer_copy / "golden.json", lambda golden: move_golden(golden, np.spacing(expected)))
    kind, message, *_ = load(layer_copy)
    assert kind == "RefusedError"
    assert "1 of" in message
    assert "row 3" in message
    assert "no difference is allowed" in message


@pytest.mark.parametrize(("by", "outcome"), [(5e-13, "loaded"), (1e-11, "RefusedError")])
def test_another_class_of_processor_has_a_tolerance(layer_copy: Path, by: float, outcome: str) -> None:
    change(
        layer_copy / "manifest.json", lambda manifest: manifest["environment"]["fingerprint"].update(cpu_features="sha256:other")
    )
    change(layer_copy / "golden.json", lambda golden: move_golden(golden, by))
    assert load(layer_copy)[0] == outcome


def test_a_missing_package_is_refused_with_its_name(layer_copy: Path) -> None:
    shutil.rmtree(layer_copy / "code")
    kind, message, hint, *_ = load(layer_copy)
    assert kind == "RefusedError"
    assert "No module named 'parcels'" in message
    assert "project.packages" in hint


@pytest.mark.parametrize("text", ["", "{}", '{"environment": {"fingerprint": {"libraries": []}}}'])
def test_an_invalid_manifest_is_refused(layer_copy: Path, text: str) -> None:
    (layer_copy / "manifest.json").write_text(text)
    assert load(layer_copy)[:1] == ["IntegrityError"]


def test_a_file_that_is_not_a_model_is_refused(layer_copy: Path) -> None:
    replace_model(layer_copy, b"no model")
    kind, message, *_ = load(layer_copy)
    assert kind == "RefusedError"
    assert "cannot be loaded" in message


def test_the_files_that_the_image_copies_are_enough(layer_copy: Path, tmp_path: Path) -> None:
    for line in (REPOSITORY / "serving" / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        words = line.split()
        if words[:1] == ["COPY"]:
            for source in words[1:-1]:
                (tmp_path / "image" / source).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(REPOSITORY / source, tmp_path / "image" / source)
    code = "import serving.model_server as m; server = m.ModelServer(); server.load(); print(server.tags())"
    digest = layer_digest(layer_copy)
    environment = {"PYTHONPATH": str(tmp_path / "image"), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"SLUICE_RELEASE_FOLDER": str(layer_copy), "SLUICE_RELEASE_DIGEST": digest}
    command = [REPOSITORY / ".venv-serving/bin/python", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=environment)
    assert done.stdout == f"{{'release': '{digest}'}}\n", done.stderr


def test_the_server_does_not_start_without_a_digest(layer_copy: Path) -> None:
    code = "import serving.model_server as m; m.ModelServer().load()"
    environment = {"PYTHONPATH": str(REPOSITORY), "SLUICE_RELEASE_FOLDER": str(layer_copy)}
    command = [REPOSITORY / ".venv-serving/bin/python", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=environment)
    assert done.returncode == 3
    assert "refused: $SLUICE_RELEASE_DIGEST is not set" in done.stderr


def test_a_library_of_which_the_release_names_no_version_is_refused(layer_copy: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    (installed / "lightwood-4.0.0.dist-info").mkdir(parents=True)
    (installed / "lightwood-4.0.0.dist-info" / "METADATA").write_text("Name: LightWood\nVersion: 4.0.0\n")
    (installed / "lightwood-4.0.0.dist-info" / "RECORD").write_text("lightwood.py,sha256=0,0\n")
    (installed / "lightwood.py").touch()
    file = layer_copy / "code" / "parcels" / "features.py"
    late = f"        import sys; sys.path.append({str(installed)!r}); import lightwood\n        day ="
    file.write_text(file.read_text().replace("        day =", late))
    kind, message, hint, _ = load(layer_copy)
    assert kind == "RefusedError"
    assert "the model loads lightwood 4.0.0, but its release does not say which version it was fitted with" in message
    assert "model.build" in hint
    change(layer_copy / "manifest.json", lambda manifest: manifest["environment"]["fingerprint"].pop("files"))
    assert load(layer_copy)[0] == "loaded"  # a release of an earlier version of Sluice names only the libraries of every model


def test_a_release_of_earlier_libraries_is_refused_by_this_environment() -> None:
    kind, message, *_ = load(Path(__file__).parent / "environments" / "earlier_release")
    assert kind == "RefusedError"
    assert "numpy is " in message
    assert "fitted with 1.26.4" in message
