"""Templates and label words for a prompt, proposed by models.

Gao, Fisch & Chen 2021, arXiv:2012.15723, sec. 5.
"""

from collections.abc import Sequence
from dataclasses import replace

from promptatlas.data.example import Example
from promptatlas.data.interval import Interval
from promptatlas.errors import NeedsError, SettingError, TemplateError
from promptatlas.lm.lm import LM
from promptatlas.lm.load import load
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words
from promptatlas.search.around import layouts
from promptatlas.search.assign import assigned, likely
from promptatlas.search.write import Aggregate, written


def template_choices(
    prompt: Prompt, lm: LM, generator: str | LM, examples: Sequence[Example], *, beams: int,
    aggregate: Aggregate = "logprob",
) -> list[str]:  # fmt: skip
    """Templates that a generator writes around the prompt's fields and its label words, as texts.

    Of one field half of them stand behind it and half before it; a causal model, which can't see what follows its
    answer, has them all before the answer.

    Args:
        prompt: its fields and words; of a number the word of the end it is nearer to is said.
        lm: the model that is to read them: what it can't read is left out.
        generator: a seq2seq model with sentinels, or its name.
        examples: labelled.
        beams: how many are wanted; fewer where some come out alike.
        aggregate: see `written`.

    Raises:
        NeedsError: the generator doesn't fill spans, the prompt shows no field, or its words can't be said.
        SettingError: none of what was written can be read.
    """
    generator = load(generator, str(lm.device)) if isinstance(generator, str) else generator
    fields = prompt.template.fields
    if not fields or not isinstance(prompt.words, Words):
        raise NeedsError(
            f"templates are written around fields and label words, and `{prompt.template}` lacks one of them",
            hint="show a field, and give each label a word",
        )
    said = [_said(prompt, one) for one in examples]
    some = layouts(fields, said, tail=lm.kind != "causal")
    each = max(1, beams // len(some))
    found: dict[str, None] = {}
    for layout in some:
        for one in written(generator, examples, said, layout, beams=each, aggregate=aggregate):
            if _reads(replace(prompt, template=one.template), lm, examples[0]):
                found[str(one.template)] = None
    if not found:
        raise SettingError(f"nothing that `{generator.name}` wrote is a template for `{lm.name}`", hint="more `beams`")
    return list(found)


def word_choices(
    prompt: Prompt, lm: LM, examples: Sequence[Example], *, k: int, neighbours: int, count: int
) -> list[dict[str, str]]:
    """The `count` best ways to give each label one of its k likeliest words; see `assign`."""
    found = assigned(prompt, lm, examples, likely(prompt, lm, examples, k, neighbours=neighbours), count)
    return [dict(one.words) for one in found]


def _said(prompt: Prompt, example: Example) -> str:
    view = prompt.view
    word = prompt.words.word(view.pole(example) if isinstance(view, Interval) else str(example.target))
    return word if isinstance(word, str) else word[0]


def _reads(prompt: Prompt, lm: LM, example: Example) -> bool:
    try:
        prompt.reader(lm).encode(prompt.lines(lm, [example])[0])
    except TemplateError:
        return False
    return True
