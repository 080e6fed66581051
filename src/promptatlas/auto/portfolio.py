"""What is tried: a few methods that are good in different places, the cheapest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from promptatlas import registry
from promptatlas.data.task import Task
from promptatlas.errors import NeedsError, SettingError, near
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.text.template import Template
from promptatlas.train.candidate import Candidate
from promptatlas.train.needs import Method

SHOWN = 8  # demonstrations at most: what a small window holds


@dataclass(frozen=True)
class Entry:
    """One thing to try.

    Attributes:
        name: for people.
        what: what it does, in a few words.
        chain: methods applied one after the other, each with its settings.
    """

    name: str
    what: str
    chain: tuple[tuple[str, Mapping[str, Any]], ...]


@dataclass(frozen=True)
class Portfolio:
    """What is tried on a task, and what is not.

    Attributes:
        candidates: to choose among, the cheapest first.
        what: of each candidate by name, what it does.
        left_out: by name, why it isn't tried.
    """

    candidates: tuple[Candidate, ...]
    what: Mapping[str, str]
    left_out: Mapping[str, str] = field(default_factory=dict)


def entries(shown: int, patterns: Sequence[str] = ()) -> tuple[Entry, ...]:
    """Everything that may be tried, the cheapest first.

    Args:
        shown: demonstrations there are in the smallest fold.
        patterns: templates beside the prompt's own.
    """
    calibrated: tuple[str, Mapping[str, Any]] = ("contextual_calibration", {})
    return (
        Entry("zero-shot", "the model as it is, calibrated", (calibrated,)),
        Entry("in-context", f"{shown} examples shown, calibrated", (("in_context", {"k": shown}), calibrated)),
        Entry("prompt tuning", "10 vectors in front of the text", (("prompt_tuning", {}),)),
        Entry("pattern tuning", "all weights, through the pattern", (("pattern_tuning", {}),)),
        Entry("fine-tuning", "all weights and a head, no pattern", (("fine_tuning", {}),)),
        Entry(
            "LM-BFF",
            "label words found, like examples shown, all weights",
            (("lm_bff", {"find_words": True, "candidates": 3, "folds": 2, "draws": 4}),),
        ),
        Entry(
            "PET",
            f"a model for each of {1 + len(patterns)} patterns labels texts, a classifier learns from them",
            (("pet", {"patterns": tuple(patterns), "repeats": 1, "student_steps": 100}),),
        ),
    )


def portfolio(
    lm: LM,
    task: Task,
    prompt: Prompt,
    *,
    shown: int,
    patterns: Sequence[str] = (),
    only: Sequence[str] = (),
    seed: int = 0,
) -> Portfolio:
    """What can be tried with this model and task.

    Args:
        lm: the model.
        task: of kind "label".
        prompt: where every method starts.
        shown: labelled examples in the smallest fold.
        patterns: further templates: PET has a model for each, and each is tried as it is, calibrated.
        only: names of entries; none: all of them.
        seed: of the methods.

    Raises:
        SettingError: a name in `only` that isn't known.
        NeedsError: nothing can be tried.
        TemplateError: a pattern that can't be read.
    """
    known = entries(min(SHOWN, shown), patterns)
    for name in only:
        if name not in [one.name for one in known]:
            raise SettingError(f"the portfolio has no `{name}`", hint=near(name, [one.name for one in known]))
    candidates: list[Candidate] = []
    what: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for entry in known:
        if only and entry.name not in only:
            continue
        methods = tuple(registry.seeded(name, seed, **settings) for name, settings in entry.chain)
        reason = _lacking(methods, lm, task, prompt)
        if reason:
            left_out[entry.name] = reason
            continue
        starts = {entry.name: prompt}
        if entry.name == "zero-shot":
            others = [replace(prompt, template=Template.parse(text)) for text in patterns]
            starts |= {f"zero-shot, pattern {at}": one for at, one in enumerate(others, 2)}
        candidates += [Candidate(name=name, prompt=start, methods=methods) for name, start in starts.items()]
        what |= dict.fromkeys(starts, entry.what)
    if not candidates:
        raise NeedsError(
            f"nothing can be tried on `{task.name}` with `{lm.name}`: "
            + "; ".join(f"{name} {reason}" for name, reason in left_out.items())
        )
    return Portfolio(tuple(candidates), what, left_out)


def _lacking(methods: Sequence[Method], lm: LM, task: Task, prompt: Prompt) -> str:
    """Why methods can't be tried; "" where they can."""
    for method in methods:
        try:
            method.needs.check(method.name, lm, task, prompt)
        except NeedsError as error:
            return error.message
    return ""
