"""Answers out of a vocabulary: the words that can be read at one slot, and the examples whose answer is among them."""

import random
from collections.abc import Sequence
from dataclasses import replace

from promptatlas.data.example import Example
from promptatlas.errors import DataError, SettingError, WordError
from promptatlas.lm.lm import LM
from promptatlas.score.words import Words
from promptatlas.text.template import Template


def candidates(words: object, lm: LM, template: Template) -> Words:
    """The words without the labels that have one of several tokens, or one the model doesn't know, in this place.

    Raises:
        SettingError: these are no label words.
        WordError: fewer than two labels are left.
    """
    if not isinstance(words, Words):
        raise SettingError("answers are chosen among words, and this prompt has none", hint="give each answer a word")
    before = template.before(template.slots[0])

    def readable(word: str) -> bool:
        ids = lm.word(word, before)
        return len(ids) == 1 and ids[0] not in lm.special

    kept = {label: some for label, some in words.words.items() if all(map(readable, some))}
    if len(kept) < 2:
        told = f"of {len(words.words)} answers, {len(kept)} are one token in {lm.name}"
        raise WordError(told, hint="two at least are needed: give more words, or a model that has them whole")
    weights = None if words.weights is None else {label: words.weights[label] for label in kept}
    return replace(words, words=kept, weights=weights)


def askable(examples: Sequence[Example], words: Words, split: str) -> tuple[Example, ...]:
    """The examples whose target is among the words, each once.

    Raises:
        DataError: none is.
    """
    kept = {(str(dict(one.fields)), one.target): one for one in examples if one.target in words.words}
    if not kept:
        told = f"no answer of the {len(examples)} {split} examples is among the {len(words.words)} words"
        raise DataError(told, hint="are answers and words spelled alike, and each one token of the model?")
    return tuple(kept.values())


def drawn(lm: LM, labels: Sequence[str], template: Template, *, seed: int) -> Words:
    """A word for each label, drawn from those that are letters and one token at the template's slot.

    Logan IV et al. 2022, arXiv:2106.13353, who leave out the first 1,000 tokens of the vocabulary. differs: it is told
    by its tokens' letters what is no word.

    Raises:
        WordError: there are fewer such words than labels.
    """
    before = template.before(template.slots[0])
    ids = [at for at in range(len(lm.vectors)) if at not in lm.special]
    random.Random(seed).shuffle(ids)
    found: dict[str, None] = {}
    for at in ids:
        word = lm.text([at]).strip()
        if len(found) < len(labels) and word.isalpha() and lm.word(word, before) == (at,):
            found[word] = None
    if len(found) < len(labels):
        told = f"{lm.name} has {len(found)} words of one token, for {len(labels)} labels"
        raise WordError(told, hint="give each label a word of your own")
    return Words.of(dict(zip(labels, found, strict=True)), single=True)
