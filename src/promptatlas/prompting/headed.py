"""Templates without words: of fields alone, under a linear head in place of label words; of fields and a slot."""

from collections.abc import Sequence
from dataclasses import replace

from promptatlas.data.view import One
from promptatlas.demos.pick import NoDemos
from promptatlas.errors import SettingError, near
from promptatlas.lm.lm import LM
from promptatlas.parts.head import head
from promptatlas.prompting.prompt import Prompt
from promptatlas.score.soft import POOLS, Classifier, Pool
from promptatlas.text.template import Template


def headed(prompt: Prompt, lm: LM, labels: Sequence[str], *, seed: int, pool: Pool | None = None) -> Prompt:
    """The prompt with a fresh head (part `head`) for these labels; one that has a head already keeps it.

    Demonstrations go, and so does the template's text where no part stands in it: the head reads `plain` fields.

    Args:
        prompt: its other parts stay.
        lm: gives the width of the states.
        labels: in the order of the head's rows.
        seed: of the head's start.
        pool: the state it reads; None: what suits the kind of model (`POOLS`).
    """
    if "head" in prompt.parts:
        return prompt
    template = prompt.template if prompt.template.parts else plain(prompt.template.fields)
    words = Classifier(labels=tuple(labels), pool=pool or POOLS[lm.kind])
    fresh = prompt.plus(head=head(lm, len(labels), seed=seed))
    return replace(fresh, template=template, words=words, demos=NoDemos(), view=One(), calibration=())


def plain(fields: Sequence[str]) -> Template:
    """Fields alone, with the tokenizer's own mark between them."""
    return Template.parse("{sep}".join(f"{{{field}}}" for field in fields))


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
