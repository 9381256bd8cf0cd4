"""The expected results of the pipelines in `local_pipelines`. The steps that receive a value also compare it themselves."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from argo_runs import ATTEMPTS, PHASE, Case, RawText, artifact
from value_samples import numbers, samples

if TYPE_CHECKING:
    from argo_cluster import Cluster
    from argo_runs import Run

TEXTS = samples()
TAGS = TEXTS["tags"]
BIG = 2**53 + 1
TEXT_NAMES = ("quotes", "newlines", "tags", "dollars", "controls", "emoji", "empty")
MAKE_TEXTS: dict[str, dict[str, Any]] = {"make-texts": {name: TEXTS[name] for name in TEXT_NAMES}}
FILE = artifact("Dataset", **{"text": TAGS + TEXTS["dollars"], "big": BIG, "real": 3.0, "n": 3, "in": {"a": [None]}})
SUBMITTED = {"struct": {"a": [3, 3.5, None], "big": BIG, "text": TEXTS["dollars"]}, "numbers": [BIG, 1, -1]}


def claim(cluster: Cluster) -> str:
    """Return the name of the PersistentVolumeClaim that exists before the runs."""
    return cluster.claim


def check_sequential(run: Run) -> None:
    """Check that no iteration starts before the previous one has ended."""
    spans = sorted(run.step_times(f"for-loop-2[{n}].sleep") for n in range(3))
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))


def check_memory_limits(run: Run) -> None:
    """Check that the pods have the memory limits that came from a step and from an argument."""
    for path, limit in (("echo-number", "96Mi"), ("echo-number-2", "112Mi")):
        assert run.resources(path)["limits"]["memory"] == limit


def shell_steps() -> dict[str, dict[str, Any]]:
    """Return the steps that send each text from Python to a shell, which writes its argument, and back to Python."""
    steps: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(TEXT_NAMES):
        suffix = f"-{number + 1}" if number else ""
        steps[f"make-text{suffix}"] = {"Output": TEXTS[name]}
        steps[f"shell-echo{suffix}"] = {"told": RawText(TEXTS[name].removesuffix("\n"))}
        steps[f"check-text{suffix}"] = {}
    plain = "{" * 2 + "workflow.name" + "}" * 2 + " $(HOME)"
    return steps | {"shell-join": {"told": RawText(plain)}, "check-joined": {"Output": plain}}


SHELL_TEXT = 'a "b" ' + "{" * 2 + "workflow.name" + "}" * 2 + " " + "{" * 2 + "=1+1" + "}" * 2 + " $(HOME) \n\\"

TEXT_CASES = [
    Case("texts_from_step_to_step", MAKE_TEXTS | {"check-texts": {"Output": TAGS}}, outputs={"Output": TAGS}),
    Case(
        "texts_through_a_nested_pipeline",
        MAKE_TEXTS | {"inner-texts.check-texts": {"Output": TAGS}, "check-text": {"Output": TAGS[:100]}},
        outputs={"Output": TAGS[:100]},
    ),
    Case(
        "submitted_texts",
        {f"check-text{suffix}": {} for suffix in ("", "-2", "-3", "-4")} | {"echo-struct": {"Output": SUBMITTED}},
        {name: TEXTS[name] for name in ("controls", "dollars", "emoji", "quotes")}
        | {name: json.dumps(value) for name, value in SUBMITTED.items()},
        {"Output": SUBMITTED},
    ),
    Case(
        "texts_as_loop_items",
        {f"for-loop-1[{n}].echo-text": {"Output": text} for n, text in enumerate(TEXTS.values())}
        | {"make-list": {"Output": list(TEXTS.values())}, "check-list": {"Output": "equal"}},
        outputs={"Output": "equal"},
    ),
    Case(
        "dicts_as_loop_items",
        {f"for-loop-1[{n}].check-dict-item": {"Output": BIG + n} for n in range(5)}
        | {"make-dicts": {}, "check-numbers-of-items": {"Output": "equal"}},
        outputs={"Output": "equal"},
    ),
    Case(
        "texts_through_conditions",
        MAKE_TEXTS
        | {
            "condition-1.condition-branches-2.condition-4.check-text": {"Output": TAGS[:100]},
            "condition-1.check-short": {"Output": TAGS[:100]},
        },
    ),
    Case(
        "texts_through_one_of",
        {
            "echo-text": {"Output": "yes"},
            "condition-branches-1.condition-3.make-text-2": {"Output": TAGS},
            "check-text": {"Output": TAGS[:100]},
        },
        outputs={"Output": TAGS[:100]},
    ),
    Case(
        "texts_in_an_exit_handler",
        {"exit-handler-1.fail": {PHASE: "Failed"}, "tell-status": {"Output": "FAILED exit-handler-1"}},
        {"quotes": TEXTS["quotes"]},
        phase="Failed",
    ),
    Case("long_text_to_a_step", {"make-text": {"Output": lambda text: len(text.encode()) > 200_000}, "check-text": {}}),
    Case("texts_to_a_shell", shell_steps()),
    Case("a_value_in_an_environment_variable", {"make-text": {}, "check-variable": {"Output": "equal"}}),
    Case("text_from_a_shell", {"shell-give": {"told": RawText(SHELL_TEXT)}, "check-given": {"Output": SHELL_TEXT}}),
]

NUMBERS = numbers()
ROW = {"whole": 1, "flag": True, "real": 10.0, "big": BIG}
NUMBER_CASES = [
    Case(
        "numbers_from_step_to_step",
        {
            "make-numbers": {
                "big": BIG,
                "small": -(2**63) - 1,
                "whole": 3.0,
                "real": 0.1,
                "nan": float("nan"),
                "yes": True,
                "no": False,
                "wholes": NUMBERS["whole"],
                "mixed": NUMBERS["mixed"],
                "reals": NUMBERS["real"],
                "deep": NUMBERS["deep"],
            },
            "check-numbers": {"Output": "equal"},
        },
        outputs={"Output": "equal"},
    ),
    Case(
        "numbers_as_loop_items",
        {f"for-loop-1[{n}].echo-number": {"Output": number} for n, number in enumerate(NUMBERS["whole"])}
        | {"make-whole": {"Output": NUMBERS["whole"]}, "check-whole": {"Output": "equal"}},
        outputs={"Output": "equal"},
    ),
    Case(
        "numbers_to_a_shell",
        {"make-fragile": {}, "shell-list": {"told": RawText('[3.0, 9007199254740993, "a", {"b": 1e+300}]')}},
    ),
    Case(
        "fields_of_loop_items",
        {
            "make-rows": {},
            "for-loop-1[0].condition-2.echo-text": {"Output": "one"},
            "for-loop-1[0].condition-3.echo-text-2": {"Output": "flagged"},
            "for-loop-1[0].condition-4.echo-text-3": {"Output": "more than nine"},
            "for-loop-1[0].shell-words": {"told": RawText("10.0|9007199254740993|10.0|")},
            "for-loop-1[1].shell-words": {"told": RawText("2.0|1|2.0|")},
            "for-loop-1[0].echo-text-4": {"Output": lambda text: json.loads(text.removeprefix("row=")) == ROW},
            "for-loop-1[1].echo-text-4": {},
        },
    ),
    Case(
        "nulls_inside",
        {
            "condition-1.shell-maybe": {"told": RawText("--no-first|")},
            "for-loop-3[0].shell-maybe-2": {"told": RawText("--first|a|--no-second|")},
            "shell-maybe-3": {"told": RawText("--first|a|--no-second|")},
            "shell-maybe-4": {"told": RawText("--no-first|")},
        },
    ),
    Case(
        "nested_lists",
        {f"for-loop-2[{n}].for-loop-4[{m}].add": {"Output": n + m + 4} for n in range(2) for m in range(2)}
        | {"echo-list": {"Output": [[4, 5], [5, 6]]}},
        outputs={"Output": [[4, 5], [5, 6]]},
    ),
]

ARTIFACT_CASES = [
    Case("an_artifact_that_is_elsewhere", {"say-elsewhere": {}, "told-uri": {"Output": "gs://bucket/somewhere/else"}}),
    Case(
        "artifacts_through_everything",
        {
            "make-file": {"out": FILE},
            "inner-file.check-file": {"Output": "content"},
            "inner-file.shell-upper": {"out": artifact("Dataset")},
            "read-file": {"Output": "CONTENT"},
            "look": {"Output": "something"},
            "look-2": {"Output": "nothing"},
            "make-folder": {"out": artifact("Model")},
            "check-folder": {"Output": ["a.txt", "in/b.bin", "in/deeper/empty"]},
        },
        outputs={"Output": ["a.txt", "in/b.bin", "in/deeper/empty"]},
    ),
    Case(
        "artifacts_of_nested_loops",
        {f"for-loop-2[{n}].for-loop-4[{m}].make-file": {} for n in range(2) for m in range(2)}
        | {"join-files": {"Output": "a:1,a:2,b:1,b:2"}},
        outputs={"Output": "a:1,a:2,b:1,b:2"},
    ),
    Case(
        "one_of_two_artifacts",
        {
            "echo-text": {"Output": "first"},
            "condition-branches-1.condition-2.make-file": {"out": FILE},
            "read-file": {"Output": "first"},
        },
        outputs={"Output": "first"},
    ),
    Case(
        "one_of_two_artifacts",
        {
            "echo-text": {"Output": "other"},
            "condition-branches-1.condition-3.make-file-2": {"out": FILE},
            "read-file": {"Output": "second"},
        },
        {"which": "other"},
        {"Output": "second"},
        variant="the other",
    ),
    Case(
        "artifacts_given_twice",
        {f"for-loop-2[{n}].make-file-2": {} for n in range(2)}
        | {"make-file": {}, "join-two": {"Output": "aa"}, "join-lists": {"Output": "bcbc"}},
    ),
    Case(
        "an_optional_artifact_of_a_nested_pipeline",
        {"make-file": {}, "inner-look.look": {"Output": "something"}, "inner-look-2.look": {"Output": "nothing"}},
        outputs={"Output": "nothing"},
    ),
    Case(
        "artifacts_as_another_user",
        {
            "make-file": {"out": FILE},
            "make-folder": {},
            "rewrite": {"Output": 1000, "out": artifact("Dataset")},
            "read-file": {"Output": "content again"},
        },
        outputs={"Output": "content again"},
    ),
]

CONTROL_CASES = [
    Case(
        "a_step_that_fails_once",
        {"fail-once": {"Output": "the second time", ATTEMPTS: 2}},
        {"claim": claim, "marker": "once"},
        {"Output": "the second time"},
    ),
    Case(
        "a_nested_pipeline_that_fails_once",
        {
            "inner-that-fails-once.fail-once": {"Output": "the second time", ATTEMPTS: 2},
            "inner-that-fails-once.echo-text": {"Output": "the second time"},
            "echo-text": {"Output": "the second time"},
        },
        {"claim": claim, "marker": "nested"},
        {"Output": "the second time"},
    ),
    Case("a_step_that_takes_too_long", {"sleep": {PHASE: "Failed"}}, phase="Failed"),
    Case(
        "a_loop_over_nothing",
        {"give-empty": {"Output": []}, "count": {"Output": 0}},
        outputs={"Output": 0},
    ),
    Case(
        "a_loop_one_at_a_time",
        {f"for-loop-2[{n}].sleep": {"Output": n + 1} for n in range(3)},
        check=check_sequential,
    ),
    Case(
        "memory_from_a_step",
        {"memory": {"Output": "96Mi"}, "echo-number": {"Output": 1}, "echo-number-2": {"Output": 2}},
        {"limit": "112Mi"},
        {"Output": 2},
        check=check_memory_limits,
    ),
    Case(
        "a_cleanup_after_a_failure",
        {"fail": {PHASE: "Failed"}, "default-text": {"Output": "the default"}},
        phase="Failed",
    ),
]

LOCAL_CASES = [
    Case(
        "greeted",
        {
            "condition-branches-1.condition-2.echo-text": {"Output": "hello"},
            "echo-text-2": {"Output": "hello"},
        },
        outputs={"Output": "hello"},
    ),
    Case(
        "summed",
        {
            "inner-sum.add": {"Output": 6},
            "inner-sum.add-2": {"Output": 9},
            "inner-sum-2.add": {"Output": 5},
            "inner-sum-2.add-2": {"Output": 14},
        },
        outputs={"Output": 14},
    ),
    Case(
        "listed",
        {"make-folder": {}, "check-folder": {"Output": ["a.txt", "in/b.bin", "in/deeper/empty"]}},
        outputs={"Output": ["a.txt", "in/b.bin", "in/deeper/empty"]},
    ),
]
