"""Tasks cut for a comparison: labels to choose by, labels left out."""

from collections.abc import Sequence
from dataclasses import replace

from promptatlas.data.example import Example, Target
from promptatlas.data.task import Task
from promptatlas.errors import SettingError, near


def halved(task: Task) -> Task:
    """Every other example (of each label) to choose by: whoever needs dev examples gets no more labels than others."""
    seen: dict[Target, int] = {}
    halves: tuple[list[Example], list[Example]] = ([], [])
    for one in task.train:
        label = one.target if task.kind == "label" else None
        at = seen.get(label, 0)
        halves[at % 2].append(one)
        seen[label] = at + 1
    return replace(task, train=tuple(halves[0]), dev=tuple(halves[1]))


def left(task: Task, without: Sequence[str]) -> Task:
    """The task without some labels and their examples. Raises SettingError: there is no such label."""
    for label in without:
        if label not in task.labels:
            raise SettingError(f"`{task.name}` has no label `{label}` to do without", hint=near(label, task.labels))
    if not without:
        return task

    def kept(some: Sequence[Example]) -> tuple[Example, ...]:
        return tuple(one for one in some if one.target not in without)

    labels = tuple(one for one in task.labels if one not in without)
    return replace(task, labels=labels, train=kept(task.train), dev=kept(task.dev), test=kept(task.test))
