"""True few-shot selection: a template, words, settings or a method, chosen by no labels but those to learn from.

Perez, Kiela & Cho 2021, "True Few-Shot Learning with Language Models", arXiv:2105.11447.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from promptatlas.data.task import Task
from promptatlas.data.view import One
from promptatlas.errors import NeedsError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.score.temper import Temper
from promptatlas.train.candidate import Asking, Candidate
from promptatlas.train.choice import Choice
from promptatlas.train.choose import choose
from promptatlas.train.folds import Selection
from promptatlas.train.needs import Method
from promptatlas.train.run import Run

CHOSEN = ("label", "choice", "number")  # kinds of task

__all__ = ["Candidate", "Choice", "Selected", "Selection", "chosen", "ranked", "select", "settled", "tempered"]


class Selected(NamedTuple):
    """What the chosen candidate learned from all training examples, and how it was chosen."""

    prompt: Prompt | Ensemble
    choice: Choice


def select(
    candidates: Sequence[Candidate], lm: LM, task: Task, how: Selection | None = None, *, run: Run | None = None
) -> Selected:
    """Choose a candidate, and fit it on all training examples; its history says how it was chosen.

    Of a single candidate nothing is measured. `chosen` says the rest.
    """
    how, run = how or Selection(), run or Run()
    choice = chosen(candidates, lm, task, how, run=run)
    best = candidates[choice.at]
    return Selected(settled(best.fit(lm, task, run=run), best.prompt, lm, task, choice), choice)


def chosen(candidates: Sequence[Candidate], lm: LM, task: Task, how: Selection, *, run: Run | None = None) -> Choice:
    """Choose a candidate by what it loses on held-out examples: minus the log-probability of the right answer, in nats.

    Of numbers it is the squared error instead. Every candidate is asked the same. One with methods is fitted anew for
    each fold, to the task with the fold's training examples (dev and unlabeled examples stay, test ones don't); one
    that learns nothing is read once. With a run folder, what was asked is not asked again after a stop. One that fails
    on a fold comes last, with the reason.

    Args:
        candidates: each with a name of its own.
        lm: the model.
        task: of kind "label", "choice" or "number", where there are several.
        how: the way of choosing.
        run: keeps each answer, is told of progress, may stop.

    Raises:
        SettingError: no candidates, a name twice, a setting that can't be, or more folds than examples.
        NeedsError: what the task or a candidate's first method lacks, before any work.
        TooLong: demonstrations that don't fit the window, before any work.
        Cancelled: the run said to stop.
        PromptAtlasError: all candidates failed.
    """
    if len(candidates) > 1 and task.kind not in CHOSEN:  # there is nothing to measure of one alone
        needed = "label, choice or number"
        raise NeedsError(f"selection needs a task of kind {needed}, and `{task.name}` is of kind {task.kind}")
    for one in candidates:
        for method in one.methods[:1]:
            method.needs.check(method.name, lm, task, one.prompt)
    dev = task.dev if how.kind == "dev" else ()
    targets = [one.target for one in task.train]
    asking = Asking(candidates, lm, task, run or Run(), (*task.train, *dev))
    if len(candidates) > 1:
        asking.check(how.plan(targets, len(dev)))
    return choose([one.name for one in candidates], asking, how, targets, dev=len(dev))


def tempered(learned: Prompt | Ensemble, temperature: float) -> Prompt | Ensemble:
    """The same answers at a temperature; where a prompt reads a row a choice or a description, as it was."""
    if isinstance(learned, Ensemble):
        if learned.mix or learned.vote:
            return learned
        return replace(learned, prompts=tuple(_tempered(one, temperature) for one in learned.prompts))
    return _tempered(learned, temperature)


def _tempered(prompt: Prompt, temperature: float) -> Prompt:
    if temperature == 1 or not isinstance(prompt.view, One):
        return prompt
    return replace(prompt, calibration=(*prompt.calibration, Temper(temperature=temperature)))


def settled(learned: Prompt | Ensemble, start: Prompt, lm: LM, task: Task, choice: Choice) -> Prompt | Ensemble:
    """What the chosen one learned, at the temperature that suits it, where that was asked for; the choice is noted.

    In the history the choice stands before what the chosen one's methods did. Where there was nothing to choose, what
    was learned stays as it is.
    """
    if not choice.scores:
        return learned
    learned = tempered(learned, choice.scores[choice.at].temperature)
    step = start.noted(lm, choice.how, task.identity(), **choice.figures()).history[-1]

    def told(one: Prompt) -> Prompt:
        kept = len(start.history) if one.history[: len(start.history)] == start.history else 0
        return replace(one, history=(*one.history[:kept], step, *one.history[kept:]))

    if isinstance(learned, Ensemble):
        return replace(learned, prompts=tuple(map(told, learned.prompts)))
    return told(learned)


def ranked(prompts: Sequence[Prompt], lm: LM, task: Task, method: Method, *, folds: int, run: Run) -> list[Prompt]:
    """Prompts by what they lose on dev examples after a method, the best first; without any, by cross-validation.

    Each is as it was given, but that its history says how it was chosen. Of equal ones the first is kept.
    """
    how = Selection(kind="dev") if task.dev else Selection(folds=folds)
    given = list({one.key: one for one in prompts}.values())
    some = [Candidate(name=f"{at}: {one.template}", prompt=one, methods=(method,)) for at, one in enumerate(given)]
    choice = chosen(some, lm, task, how, run=run)
    if not choice.scores:
        return given
    told = replace(choice, note="")
    return [given[at].noted(lm, how, task.identity(), **replace(told, at=at).figures()) for at in choice.ranking]
