"""Prompts whose own words have become vectors: where methods that train such vectors start."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from warnings import warn

from promptatlas.lm.lm import LM
from promptatlas.parts.soften import around, fresh, mean_of, of_tokens, soften
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Prompt
from promptatlas.score.named import called, named_rows
from promptatlas.score.soft import LabelVectors
from promptatlas.text.template import Template


def softened(prompt: Prompt, lm: LM, fields: Mapping[str, object], name: str) -> Prompt:
    """The prompt, saying the same, with vectors `name_0`, `name_1`, … in place of the template's own words.

    Args:
        prompt: parts its template places already stay.
        lm: the model whose tokens the vectors are of.
        fields: of any example.
        name: of the parts.
    """
    template, tokens = soften(lm, prompt.template, fields, name=name, parts=prompt.parts)
    return replace(prompt, template=template).plus(**{part: of_tokens(lm, ids) for part, ids in tokens.items()})


def between(prompt: Prompt, lm: LM, field: str, part: str, words: Sequence[str]) -> Prompt:
    """The prompt with the vector `part` in front of a field and behind it, which starts from the mean of some words.

    A vector the prompt has already, and its place, stay.

    Raises:
        TemplateError: the template doesn't show the field.
        SettingError: the vocabulary has nothing of the words.
    """
    if part not in prompt.template.parts:
        prompt = replace(prompt, template=around(prompt.template, field, part))
    return prompt if part in prompt.parts else prompt.plus(**{part: mean_of(lm, words)})


def labelled(prompt: Prompt, lm: LM, labels: Sequence[str], names: Mapping[str, str]) -> Prompt:
    """The prompt with a row a label, in the part `label_vectors`, that starts from what the label is called.

    Rows it has already stay.

    Args:
        prompt: with one slot.
        lm: the model.
        labels: in the order of the rows.
        names: label -> what it is called; where not told, its own words.
    """
    if isinstance(prompt.words, LabelVectors):
        return prompt
    told = {label: names.get(label) or called(label) for label in labels}
    words = LabelVectors(labels=tuple(labels))
    return replace(prompt.plus(label_vectors=named_rows(told, lm, prompt.template)), words=words)


def drawn(prompt: Prompt, lm: LM, name: str, seed: int) -> Prompt:
    """The prompt with vectors drawn like the vocabulary's in place of those of the parts `name_0`, `name_1`, …."""
    mine = {part: one for part, one in prompt.parts.items() if part.startswith(f"{name}_") and isinstance(one, Vectors)}
    made = {part: fresh(lm, "by_dimension", one.length, seed=seed + at) for at, (part, one) in enumerate(mine.items())}
    return prompt.plus(**made)


def fitting(templates: Sequence[str], prompt: Prompt) -> list[Template]:
    """The templates with the prompt's fields and one slot; others are left out with a warning.

    Raises:
        TemplateError: one can't be read.
    """
    kept = []
    for template in map(Template.parse, templates):
        if set(template.fields) == set(prompt.template.fields) and len(template.slots) == 1:
            kept.append(template)
        else:
            warn(f"`{template}` is left out: it has other fields or slots than the prompt", stacklevel=2)
    return kept
