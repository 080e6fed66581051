"""How many of its demonstrations a prompt really shows: the window of a model is short."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from statistics import fmean, median_low
from warnings import warn

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.errors import DataError, NeedsError
from promptatlas.lm.lm import LM
from promptatlas.prompting.prompt import Prompt
from promptatlas.prompting.writing import GREEDY

LOOKED = 16  # texts of a task that are looked at


def looked(task: Task) -> tuple[Example, ...]:
    """The texts of a task in which demonstrations are counted: unlabeled ones, or else training examples."""
    return (task.unlabeled or task.train)[:LOOKED]


def shown(prompt: Prompt, lm: LM, examples: Sequence[Example]) -> list[int]:
    """Of each example how many demonstrations the window holds before it; of several rows, before the longest."""
    lines, owners = prompt.lines(lm, examples)
    reader = prompt.reader(lm)
    if prompt.writes:
        counts = [row.demos() for row in reader.encode(lines, room=GREEDY.max_new)]
    else:
        counts = reader.shown(lines)
    return [min(counts[start:end], default=0) for start, end in owners]


def check_labels(task: Task, method: str, *, balanced: bool) -> None:
    """Warn of labels that no demonstration can have; where all are to be shown alike, raise DataError instead."""
    missing = [
        label for label in task.labels if task.kind == "label" and all(one.target != label for one in task.train)
    ]
    if not missing:
        return
    told = f"`{method}` has no training example of `{task.name}` with the label `{missing[0]}` to show"
    if balanced:
        raise DataError(told, hint="give one of each label, or set balanced=False")
    warn(f"{told}; models lean to the labels that are shown", stacklevel=4)


def counted(prompt: Prompt, lm: LM, task: Task, method: str) -> dict[str, float | int]:
    """For a history: the fewest and the mean number shown, in so many of the task's texts.

    Raises:
        DataError: a label has no example, and demonstrations are balanced.
        NeedsError: demonstrations are wanted, and not even one fits before any of these texts.
    """
    check_labels(task, method, balanced=getattr(prompt.demos, "balanced", False))
    some = looked(task)
    counts = shown(prompt, lm, some)
    if not any(counts) and any(prompt.demos.pick(lm, some)):
        raise NeedsError(
            f"`{method}` shows demonstrations, and the window of {lm.name}, {lm.window} tokens, has room for none "
            f"before any of {len(some)} texts of `{task.name}`",
            hint="cut the template's fields, as {text|cut(200)} does, or take a model with a longer window",
        )
    return {"shown": round(fmean(counts), 2), "fewest": min(counts), "looked": len(counts)} if counts else {}


def most(make: Callable[[int], Prompt], lm: LM, examples: Sequence[Example], limit: int) -> int:
    """The most demonstrations, `limit` at most, that the window holds all of before at least half of the examples.

    Args:
        make: a prompt that shows so many.
        lm: the model.
        examples: before which they have to fit.
        limit: how many there are.
    """

    def over(k: int) -> bool:
        return median_low(shown(make(k), lm, examples)) < k

    top = min(1, limit)
    while top < limit and not over(top):
        top = min(2 * top, limit)
    return bisect_left(range(1, top + 1), True, key=over)
