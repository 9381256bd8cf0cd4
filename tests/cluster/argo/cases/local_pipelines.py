"""The pipelines of the value tests. Each name says what is sent, and through what."""

# ruff: noqa: ANN201, F403, F405, SIM117, UP006, UP035, UP045 - kfp needs its types, nested loops and many imported names

from typing import List, Optional

from kfp import dsl, kubernetes
from kfp.dsl import Dataset
from step_components import *
from value_components import *
from value_samples import samples


@dsl.pipeline
def texts_from_step_to_step() -> str:
    made = make_texts()
    return check_texts(**made.outputs).output


@dsl.pipeline
def inner_texts(quotes: str, newlines: str, tags: str, dollars: str, controls: str, emoji: str, empty: str) -> str:
    return check_texts(
        quotes=quotes, newlines=newlines, tags=tags, dollars=dollars, controls=controls, emoji=emoji, empty=empty
    ).output


@dsl.pipeline
def texts_through_a_nested_pipeline() -> str:
    made = make_texts()
    inner = inner_texts(**made.outputs)
    return check_text(name="tags", text=inner.output).output


@dsl.pipeline
def submitted_texts(controls: str, dollars: str, emoji: str, quotes: str, struct: dict, numbers: list) -> dict:
    for name, text in (("controls", controls), ("dollars", dollars), ("emoji", emoji), ("quotes", quotes)):
        check_text(name=name, text=text)
    return echo_struct(struct=struct, numbers=numbers).output


@dsl.pipeline
def texts_as_loop_items() -> str:
    made = make_list()
    with dsl.ParallelFor(made.output) as text:
        told = echo_text(text=text)
    return check_list(found=dsl.Collected(told.output)).output


@dsl.pipeline
def dicts_as_loop_items() -> str:
    made = make_dicts()
    with dsl.ParallelFor(made.output) as item:
        told = check_dict_item(item=item, text=item.text, number=item.number)
    return check_numbers_of_items(found=dsl.Collected(told.output)).output


@dsl.pipeline
def texts_through_conditions():
    made = make_texts()
    with dsl.If(made.outputs["emoji"] == samples()["emoji"]):
        with dsl.If(made.outputs["empty"] != ""):
            first = fail(text="the empty text was not empty")
        with dsl.Else():
            second = check_text(name="tags", text=made.outputs["tags"])
        check_short(text=made.outputs["dollars"], chosen=dsl.OneOf(first.output, second.output))
    with dsl.If(made.outputs["tags"] == "7"):
        fail(text="the tags were computed")


@dsl.pipeline
def texts_through_one_of() -> str:
    flag = echo_text(text="yes")
    with dsl.If(flag.output == "no"):
        first = make_text(name="quotes")
    with dsl.Elif(flag.output == "yes"):
        second = make_text(name="tags")
    with dsl.Else():
        third = make_text(name="dollars")
    return check_text(name="tags", text=dsl.OneOf(first.output, second.output, third.output)).output


@dsl.pipeline
def texts_in_an_exit_handler(quotes: str):
    told = tell_status(text=quotes, name="quotes")
    with dsl.ExitHandler(told):
        fail(text="on purpose")


@dsl.pipeline
def long_text_to_a_step() -> str:
    made = make_text(name="long")
    return check_text(name="long", text=made.output).output


@dsl.pipeline
def numbers_from_step_to_step() -> str:
    made = make_numbers()
    return check_numbers(**made.outputs).output


@dsl.pipeline
def numbers_as_loop_items() -> str:
    made = make_whole()
    with dsl.ParallelFor(made.output) as number:
        told = echo_number(number=number)
    return check_whole(found=dsl.Collected(told.output)).output


@dsl.pipeline
def texts_to_a_shell() -> str:
    for name in ("quotes", "newlines", "tags", "dollars", "controls", "emoji", "empty"):
        made = make_text(name=name).set_display_name(f"make {name}")
        told = shell_echo(text=made.output)
        check_text(name=name, text=told.output, lost=1 if name == "newlines" else 0)
    joined = shell_join(text=made.output)
    return check_joined(text=joined.output).output


@dsl.pipeline
def text_from_a_shell() -> str:
    return check_given(text=shell_give().output).output


@dsl.pipeline
def inner_file(found: dsl.Input[Dataset]) -> Dataset:
    check_file(found=found, text="content")
    return shell_upper(found=found).outputs["out"]


@dsl.pipeline
def artifacts_through_everything() -> List[str]:
    made = make_file(text="content")
    inner = inner_file(found=made.outputs["out"])
    read_file(found=inner.output)
    look(found=made.outputs["out"])
    look()
    return check_folder(found=make_folder().outputs["out"]).output


@dsl.pipeline
def artifacts_of_nested_loops() -> str:
    with dsl.ParallelFor(["a", "b"]) as letter:
        with dsl.ParallelFor([1, 2]) as number:
            made = make_file(text=letter, number=number)
    return join_files(found=dsl.Collected(made.outputs["out"])).output


@dsl.pipeline
def one_of_two_artifacts(which: str = "first") -> str:
    flag = echo_text(text=which)
    with dsl.If(flag.output == "first"):
        first = make_file(text="first")
    with dsl.Else():
        second = make_file(text="second")
    return read_file(found=dsl.OneOf(first.outputs["out"], second.outputs["out"])).output


@dsl.pipeline
def artifacts_as_another_user() -> str:
    made, folder = make_file(text="content"), make_folder()
    again = rewrite(found=made.outputs["out"], folder=folder.outputs["out"])
    kubernetes.set_security_context(again, run_as_user=1000, run_as_group=1000)
    return read_file(found=again.outputs["out"]).output


@dsl.pipeline
def a_step_that_fails_once(claim: str, marker: str) -> str:
    task = fail_once(marker=marker).set_retry(2)
    kubernetes.mount_pvc(task, pvc_name=claim, mount_path="/marker")
    return task.output


@dsl.pipeline
def inner_that_fails_once(claim: str, marker: str) -> str:
    told = fail_once(marker=marker)
    kubernetes.mount_pvc(told, pvc_name=claim, mount_path="/marker")
    return echo_text(text=told.output).output


@dsl.pipeline
def a_nested_pipeline_that_fails_once(claim: str, marker: str) -> str:
    tried = inner_that_fails_once(claim=claim, marker=marker).set_retry(2)
    return echo_text(text=tried.output).output


@dsl.pipeline
def inner_named(text: str) -> str:
    return echo_text(text=text).output


@dsl.pipeline
def names_for_people() -> str:
    named = inner_named(text="a").set_display_name("The inner one")
    return echo_text(text=named.output).set_display_name("Shown to people!").output


@dsl.pipeline
def a_step_that_takes_too_long():
    kubernetes.set_timeout(sleep(seconds=120), 5)


@dsl.pipeline
def steps_that_are_cached() -> float:
    return later(first=now().set_caching_options(True).output).set_caching_options(True).output


@dsl.pipeline
def a_loop_over_nothing() -> int:
    with dsl.ParallelFor(give_empty().output) as text:
        told = echo_text(text=text)
    return count(found=dsl.Collected(told.output)).output


@dsl.pipeline
def a_loop_one_at_a_time():
    with dsl.ParallelFor([1, 2, 3], parallelism=1) as seconds:
        sleep(seconds=seconds)


@dsl.pipeline
def memory_from_a_step(limit: str = "128Mi") -> int:
    echo_number(number=1).set_memory_limit(memory().output)
    return echo_number(number=2).set_memory_limit(limit).set_cpu_request("10m").output


@dsl.pipeline
def a_cleanup_after_a_failure() -> str:
    failed = fail(text="on purpose")
    return default_text(text=failed.output).ignore_upstream_failure().output


@dsl.pipeline
def nested_lists() -> list:
    with dsl.ParallelFor([1, 2]) as first:
        with dsl.ParallelFor([3, 4]) as second:
            told = add(one=first, other=second)
    return echo_list(found=dsl.Collected(told.output)).output


@dsl.pipeline
def numbers_to_a_shell():
    shell_list(numbers=make_fragile().output)


@dsl.pipeline
def fields_of_loop_items():
    with dsl.ParallelFor(make_rows().output) as row:
        with dsl.If(row.whole == 1):
            echo_text(text="one")
        with dsl.If(row.flag == True):  # noqa: E712 - kfp's form
            echo_text(text="flagged")
        with dsl.If(row.real > 9):
            echo_text(text="more than nine")
        shell_words(real=row.real, whole=row.big, text=row.real)
        echo_text(text=f"row={row}")


@dsl.pipeline
def nulls_inside(maybe: Optional[str] = None, other: Optional[str] = None, flag: bool = True):
    with dsl.If(flag == True):  # noqa: E712 - kfp's form
        shell_maybe(first=maybe, second="b")
    with dsl.ParallelFor([1]):
        shell_maybe(first="a", second=other)
    shell_maybe(first="a", second=other)
    shell_maybe(first=maybe, second=other)


@dsl.pipeline
def a_value_in_an_environment_variable() -> str:
    made = make_text(name="tags")
    return check_variable(text=made.output).set_env_variable("A", "{{$.inputs.parameters['text']}}").output


@dsl.pipeline
def an_artifact_that_is_elsewhere() -> str:
    return told_uri(found=say_elsewhere().outputs["out"]).output


@dsl.pipeline
def artifacts_given_twice():
    made = make_file(text="a")
    join_two(one=made.outputs["out"], other=made.outputs["out"])
    with dsl.ParallelFor(["b", "c"]) as text:
        again = make_file(text=text)
    join_lists(one=dsl.Collected(again.outputs["out"]), other=dsl.Collected(again.outputs["out"]))


@dsl.pipeline
def inner_look(found: Optional[dsl.Input[Dataset]] = None) -> str:
    return look(found=found).output


@dsl.pipeline
def an_optional_artifact_of_a_nested_pipeline() -> str:
    inner_look(found=make_file(text="a").outputs["out"])
    return inner_look().output


@dsl.pipeline
def greeted(name: str = "world") -> str:
    with dsl.If(name == "world"):
        first = echo_text(text="hello")
    with dsl.Else():
        second = default_text(text="who are you")
    return echo_text(text=dsl.OneOf(first.output, second.output)).output


@dsl.pipeline
def inner_sum(one: int, other: int = 4) -> int:
    return add(one=one, other=add(one=other, other=1).output).output


@dsl.pipeline
def summed(first: int = 3) -> int:
    return inner_sum(one=inner_sum(one=first, other=5).output).output


@dsl.pipeline
def listed() -> List[str]:
    return check_folder(found=make_folder().outputs["out"]).output
