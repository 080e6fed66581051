"""The best of a portfolio for a few labels, chosen by these labels alone, and what to expect of it.

Chosen as in Perez, Kiela & Cho 2021, "True Few-Shot Learning with Language Models", arXiv:2105.11447.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from promptatlas.auto import BUDGET
from promptatlas.auto.mixture import ensemble, groups
from promptatlas.auto.portfolio import Portfolio, portfolio
from promptatlas.auto.purse import Purse
from promptatlas.data.example import Target
from promptatlas.data.task import Task
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.score.slots import SlotWords
from promptatlas.score.words import Words
from promptatlas.train.candidate import Asking
from promptatlas.train.choice import Choice, Held
from promptatlas.train.choose import choose
from promptatlas.train.folds import Fold, Selection
from promptatlas.train.run import Run
from promptatlas.train.select import settled

HOW = Selection(kind="cv", folds=4, nested=True, tempered=True)


@dataclass(frozen=True)
class Found:
    """What was chosen for a task, and all that is to be said of it.

    Attributes:
        prompt: learned from all labelled examples.
        choice: what every candidate was worth; groups of them come after the single ones.
        portfolio: what was tried and what was not.
        members: the names of the candidates that answer: one, or those of an ensemble.
        dropped: candidates that the budget didn't allow, by name, with the reason.
        operations: by name, what a candidate took.
        budget: operations there were.
    """

    prompt: Prompt | Ensemble
    choice: Choice
    portfolio: Portfolio
    members: tuple[str, ...]
    dropped: Mapping[str, str]
    operations: Mapping[str, float]
    budget: float


def find(
    lm: LM,
    task: Task,
    prompt: Prompt,
    *,
    how: Selection = HOW,
    patterns: Sequence[str] = (),
    only: Sequence[str] = (),
    most: int = 2,
    budget: float = BUDGET,
    seed: int = 0,
    run: Run | None = None,
) -> Found:
    """Try a portfolio of methods on a task's training examples, choose one or an ensemble, and fit it to all of them.

    Args:
        lm: the model.
        task: of kind "label"; neither dev nor test examples are looked at.
        prompt: where every method starts.
        how: of kind "cv" or "mdl"; nested, it also tells what to expect.
        patterns: templates beside the prompt's own.
        only: names of what is tried; none: the whole portfolio.
        most: members of an ensemble at most; 1: no ensembles.
        budget: operations; a candidate that would take more than is left is dropped, and said so.
        seed: of the methods.
        run: keeps what was done, is told of progress, may stop.

    Raises:
        NeedsError: a task of another kind, or nothing that can be tried on it.
        SettingError: a choice by dev examples, a name that isn't known, or more folds than examples.
        Cancelled: the run said to stop.
        PromptAtlasError: all candidates failed.
    """
    _check(task, how)
    prompt = _ordered(prompt, task)
    run = run or Run()
    run.budget = float("inf")  # so that operations are counted
    targets = [one.target for one in task.train]
    asked = _asked(how, targets)
    shown = min(len(fold.train) for fold in asked if fold.train)
    tried = portfolio(lm, task, prompt, shown=shown, patterns=patterns, only=only, seed=seed)
    names = [one.name for one in tried.candidates]
    members = [*((at,) for at in range(len(names))), *groups(len(names), most)]
    purse = Purse(Asking(tried.candidates, lm, task, run, task.train), members, fits=len(asked) + 1, budget=budget)
    choice = choose([" + ".join(names[at] for at in some) for some in members], purse, how, targets)
    best = members[choice.at]
    learned = [run.stage(f"fit-{at}", partial(tried.candidates[at].fit, lm, task, run=run)) for at in best]
    return Found(
        prompt=settled(ensemble(learned), prompt, lm, task, choice),
        choice=choice, portfolio=tried, members=tuple(names[at] for at in best),
        dropped={names[at]: why for at, why in purse.dropped.items()},
        operations={names[at]: some for at, some in sorted(purse.spent.items())}, budget=budget,
    )  # fmt: skip


def _ordered(prompt: Prompt, task: Task) -> Prompt:
    """With its labels in the task's order, as heads have them: prompts of one order can answer together."""
    words = prompt.words
    if not isinstance(words, Words | SlotWords) or set(words.labels) != set(task.labels):
        return prompt
    return replace(prompt, words=replace(words, words={label: words.words[label] for label in task.labels}))


def _check(task: Task, how: Selection) -> None:
    if task.kind != "label":
        raise NeedsError(f"`auto` needs a task of kind label, and `{task.name}` is of kind {task.kind}")
    if how.kind == "dev":
        raise SettingError("`auto` chooses by the training examples alone", hint='take kind="cv" or "mdl"')
    how.check(len(task.train))


def _asked(how: Selection, targets: Sequence[Target]) -> set[Fold]:
    """All folds a candidate is asked about."""
    seen: set[Fold] = set()

    def note(at: int, folds: Sequence[Fold]) -> list[Held]:
        seen.update(folds)
        return [Held((1.0 + at,) * len(fold.held), (True,) * len(fold.held)) for fold in folds]

    choose(["a", "b"], note, how, targets)
    return seen
