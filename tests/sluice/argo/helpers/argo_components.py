"""Components for the pipelines of the tests, one for each kind of input and output."""

from kfp import dsl

component = dsl.component(base_image="python:3.11", install_kfp_package=False)


@component
def say(text: str) -> str:
    return text


@component
def say_maybe(text: str = "nothing") -> str:
    return text


@component
def add(a: int, b: int = 1) -> int:
    return a + b


@component
def many() -> list:
    return []


@component
def table() -> dict:
    return {}


@component
def total(numbers: list) -> int:
    return sum(numbers)


@component
def train(model: dsl.Output[dsl.Model], rate: float = 0.1) -> None:
    model.metadata["rate"] = rate


@component
def score(model: dsl.Input[dsl.Model]) -> float:
    return 0.5


@component
def compare(models: dsl.Input[list[dsl.Model]]) -> str:
    return ""


@component
def report(status: dsl.PipelineTaskFinalStatus, note: str = "") -> None:
    pass


@component
def fail() -> str:
    raise ValueError
