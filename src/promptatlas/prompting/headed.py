"""Templates without words: of fields alone, under a linear head in place of label words; of fields and a slot."""

from collections.abc import Sequence
from dataclasses import replace

from promptatlas.data.interval import POLES, Interval
from promptatlas.data.task import Task
from promptatlas.data.view import One, Tags
from promptatlas.demos.pick import NoDemos
from promptatlas.errors import SettingError, near
from promptatlas.lm.lm import LM
from promptatlas.parts.head import head
from promptatlas.prompting.prompt import Prompt
from promptatlas.score.soft import POOLS, Classifier, Pool
from promptatlas.text.pieces import EachPiece
from promptatlas.text.template import Template


def headed(prompt: Prompt, lm: LM, task: Task, *, seed: int, pool: Pool | None = None) -> Prompt:
    """The prompt with a fresh head (part `head`) for the task's labels; one that has a head already keeps it.

    Demonstrations go, and so does the template's text where no part stands in it: the head reads `plain` fields.

    Args:
        prompt: its other parts stay.
        lm: gives the width of the states.
        task: its labels, in the order of the head's rows; of tags every item of the template's list is read.
        seed: of the head's start.
        pool: the state it reads; None: what suits the kind of model (`POOLS`).
    """
    if "head" in prompt.parts:
        return prompt
    template = prompt.template
    if not template.parts:
        template = plain(template.fields, template.each)
    return classified(replace(prompt, template=template), lm, task, seed=seed, pool=pool or POOLS[lm.kind])


def classified(prompt: Prompt, lm: LM, task: Task, *, seed: int, pool: Pool) -> Prompt:
    """The same, but with the prompt's own template."""
    fresh = prompt.plus(head=head(lm, len(_labels(task)), seed=seed))
    return answering(fresh, classifier(task, pool))


def answering(prompt: Prompt, words: Classifier) -> Prompt:
    """The prompt with a head's answers, and so without demonstrations and calibration; numbers stay numbers."""
    each = prompt.template.each
    plain = prompt.view if isinstance(prompt.view, Interval) else One()
    view = Tags(each.name) if each and words.pool == "each" else plain
    return replace(prompt, words=words, view=view, demos=NoDemos(), calibration=())


def classifier(task: Task, pool: Pool, part: str = "head") -> Classifier:
    """What reads a task's labels (of a task of numbers, their two ends) off a head's states.

    They are pooled so, or where items have tags read at each item.
    """
    return Classifier(labels=_labels(task), pool="each" if task.kind == "tags" else pool, part=part)


def _labels(task: Task) -> tuple[str, ...]:
    return POLES if task.kind == "number" else task.labels


def plain(fields: Sequence[str], each: EachPiece | None = None) -> Template:
    """Fields alone, with the tokenizer's own mark between them; `each` is the one that is shown item by item."""
    return Template.parse(
        "{sep}".join(str(each) if each and each.name == field else f"{{{field}}}" for field in fields)
    )


def bare(order: Sequence[str], fields: Sequence[str]) -> Template:
    """Fields and one slot, called "mask", with blanks between them and nothing else.

    Raises:
        SettingError: no slot or two, no field, one twice, or one that isn't among `fields`.

    >>> bare(("premise", "mask", "hypothesis"), ("hypothesis", "premise"))
    Template.parse('{premise} {mask} {hypothesis}')
    """
    for name in order:
        if name not in (*fields, "mask"):
            raise SettingError(f"`order` has `{name}`, which is no field", hint=near(name, (*fields, "mask")))
    if "mask" not in order or len(order) < 2 or len(set(order)) < len(order):
        said = ", ".join(f"`{name}`" for name in order)
        raise SettingError(f"`order` is {said}", hint="it has `mask`, the slot, once, and fields, each once")
    return Template.parse(" ".join(f"{{{name}}}" for name in order))
