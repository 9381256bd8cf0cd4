"""Tests of the launcher with artifacts: what a component reads, the descriptors of its outputs, and where their files are."""

from pathlib import Path
from typing import Any, NamedTuple

from kfp import dsl
from launcher_runs import MODEL, Launched

component = dsl.component(base_image="python:3.11", install_kfp_package=False)


def stored(folder: Path, name: str, content: str, **metadata: Any) -> dict[str, Any]:
    """Write the file of an artifact and return its descriptor."""
    (folder / name).write_text(content, encoding="utf-8")
    return {"name": name, "type": MODEL, "uri": str(folder / name), "metadata": metadata}


@component
def make(word: str, model: dsl.Output[dsl.Model], other: dsl.Output[dsl.Dataset]) -> None:
    from pathlib import Path

    Path(model.path).write_text(word, encoding="utf-8")
    model.metadata["score"] = 3.0
    model.metadata["{{x}}"] = "$(HOME) é"
    Path(other.path).mkdir()
    (Path(other.path) / "part").write_text("p", encoding="utf-8")


def test_an_output_artifact_is_stored_under_its_uri_with_its_metadata(launched: Launched) -> None:
    done = launched.call(make, {"word": "{{w}}"})
    assert done.code == 0, done.stderr
    found = done.value("model")
    assert found == {
        "name": "model",
        "type": MODEL,
        "uri": str(done.folder / "made" / "model"),
        "metadata": {"a": 1, "score": 3.0, "{{x}}": "$(HOME) é"},
    }
    assert repr(found["metadata"]["score"]) == "3.0"
    assert Path(found["uri"]).read_text(encoding="utf-8") == "{{w}}"
    assert (Path(done.value("other")["uri"]) / "part").read_text(encoding="utf-8") == "p"
    assert "{{" not in done.texts["model"]
    assert "$" not in done.texts["model"]


@component
def read(model: dsl.Input[dsl.Model]) -> list:
    from pathlib import Path

    return [model.name, Path(model.path).read_text(encoding="utf-8"), model.uri == model.path, model.metadata]


def test_a_component_reads_an_artifact_with_its_metadata(launched: Launched) -> None:
    model = stored(launched.folder, "m", "bytes", score=3.0, text="{{x}} $$", many=[1, 2.0])
    done = launched.call(read, artifacts={"model": model})
    assert done.code == 0, done.stderr
    assert repr(done.value("Output")) == repr(["m", "bytes", True, {"score": 3.0, "text": "{{x}} $$", "many": [1, 2.0]}])


@component
def read_many(models: dsl.Input[list[dsl.Model]]) -> list:
    from pathlib import Path

    return [Path(model.path).read_text(encoding="utf-8") for model in models or []]  # kfp passes None for an empty list.


def test_a_component_reads_a_list_of_artifacts_in_order_and_without_missing_ones(launched: Launched) -> None:
    models = [stored(launched.folder, name, name) for name in ("b", "a", "c")]
    done = launched.call(read_many, artifacts={"models": [models[0], None, *models[1:]]})
    assert done.value("Output") == ["b", "a", "c"]
    assert launched.call(read_many, artifacts={"models": []}).value("Output") == []


@component
def read_optional(model: dsl.Input[dsl.Model] = None) -> str:
    return "nothing" if model is None else model.name


def test_an_optional_artifact_that_is_null_or_not_given_is_none(launched: Launched) -> None:
    assert launched.call(read_optional).value("Output") == "nothing"
    assert launched.call(read_optional, artifacts={"model": None}).value("Output") == "nothing"
    assert launched.call(read_optional, artifacts={"model": stored(launched.folder, "m", "")}).value("Output") == "m"


@component
def elsewhere(where: str, model: dsl.Output[dsl.Model], tree: dsl.Output[dsl.Model]) -> None:
    from pathlib import Path

    Path(where).mkdir()
    (Path(where) / "file").write_text("here", encoding="utf-8")
    model.custom_path = f"{where}/file"
    tree.custom_path = where


def test_the_launcher_copies_a_custom_path_to_the_path_of_the_uri(launched: Launched) -> None:
    done = launched.call(elsewhere, {"where": str(launched.folder / "own")})
    assert done.code == 0, done.stderr
    model, tree = done.value("model"), done.value("tree")
    assert model["uri"] == str(done.folder / "made" / "model")
    assert Path(model["uri"]).read_text(encoding="utf-8") == "here"
    assert (Path(tree["uri"]) / "file").read_text(encoding="utf-8") == "here"


@component
def moved(uri: str, model: dsl.Output[dsl.Model]) -> None:
    model.uri = uri


def test_a_changed_uri_stays_if_it_is_not_a_local_path(launched: Launched) -> None:
    done = launched.call(moved, {"uri": "gs://bucket/elsewhere"})
    assert done.value("model")["uri"] == "gs://bucket/elsewhere"


def test_the_launcher_copies_the_file_at_a_changed_uri_to_the_original_path(launched: Launched) -> None:
    there = launched.folder / "there"
    there.write_text("x", encoding="utf-8")
    done = launched.call(moved, {"uri": str(there)})
    assert done.value("model")["uri"] == str(done.folder / "made" / "model")
    assert Path(done.value("model")["uri"]).read_text(encoding="utf-8") == "x"


@component
def quiet(model: dsl.Output[dsl.Model]) -> str:
    return model.uri


def test_an_artifact_that_was_never_written_has_a_descriptor(launched: Launched) -> None:
    done = launched.call(quiet)
    assert done.code == 0, done.stderr
    assert done.value("model")["uri"] == done.value("Output")
    assert not Path(done.value("Output")).exists()


@component
def returns() -> NamedTuple("Made", [("model", dsl.Model), ("word", str)]):
    from pathlib import Path

    model = dsl.Model(uri=dsl.get_uri("model"), metadata={"k": 1})
    Path(model.path).parent.mkdir(parents=True, exist_ok=True)
    Path(model.path).write_text("returned", encoding="utf-8")
    return (model, "w")


def test_the_launcher_finds_an_artifact_that_the_component_returns(launched: Launched) -> None:
    done = launched.call(returns)
    assert done.code == 0, done.stderr
    assert done.value("word") == "w"
    assert done.value("model")["metadata"] == {"a": 1, "k": 1}
    assert Path(done.value("model")["uri"]).read_text(encoding="utf-8") == "returned"
