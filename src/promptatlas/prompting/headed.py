"""A linear head in place of label words."""

from collections.abc import Sequence
from dataclasses import replace

from promptatlas.data.view import One
from promptatlas.demos.pick import NoDemos
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
