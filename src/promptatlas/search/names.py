"""Label words out of the labels' names alone: by what a model says of texts, by its input vectors, or by lists."""

import re
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import WordError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.calibrate import Divide
from promptatlas.score.words import Words
from promptatlas.search.prior import heard
from promptatlas.text.template import Template


def own_words(lm: LM, labels: Sequence[str], template: Template) -> Words:
    """Each label's name as its words: the parts of it, in small letters where the model has the name so only.

    `Sci/Tech` is `Sci` and `Tech`. Words that several names have go, unless a name has no other.

    Raises:
        WordError: the model can't read a name, or reads two alike.
    """
    before = template.before(template.slots[0]) if template.slots else template.before()

    def read(word: str) -> tuple[int, ...]:
        return lm.word(word, before)

    def unread(word: str) -> tuple[bool, int]:
        """Smallest for what the model reads best."""
        return not read(word) or bool(set(read(word)) & lm.special), len(read(word))

    found: dict[str, list[str]] = {}
    for label in labels:
        parts = [one for one in re.split(r"[\W_]+", label) if one]
        spelled = [min((one, one.lower()), key=unread) for one in parts]
        found[label] = [one for one in dict.fromkeys(spelled) if not unread(one)[0]]
    every = [read(word) for some in found.values() for word in some]
    words = {label: [one for one in some if every.count(read(one)) == 1] or some[:1] for label, some in found.items()}
    for label, some in words.items():
        if not some:
            raise WordError(f"{lm.name} can't read the name of label `{label}`", hint="give the label words")
    return Words.of(words, over_tokens="mean")


def guessed(prompt: Prompt, lm: LM, texts: Sequence[Example], temperature: float) -> Float[Tensor, "texts labels"]:
    """How much of each label the prompt finds in texts, once what it says of all of them is divided out.

    Args:
        prompt: with label words.
        lm: the model.
        texts: their labels aren't looked at.
        temperature: below 1 makes a guess surer.
    """
    scores = heard(prompt, lm, texts)
    return ((scores - shift(scores, temperature)) / temperature).softmax(1)


def levelled_prior(prompt: Prompt, lm: LM, texts: Sequence[Example]) -> Divide:
    """What is divided out so that the prompt finds every label equally often in texts."""
    return Divide(labels=prompt.labels, prior=tuple(shift(heard(prompt, lm, texts)).softmax(0).tolist()))


def shift(scores: Float[Tensor, "texts labels"], temperature: float = 1.0) -> Float[Tensor, " labels"]:
    """What to take from each label's scores so that its shares come to the same over all texts as any other's.

    >>> scores = torch.tensor([[0.9, 0.1], [0.7, 0.3]]).log()
    >>> (scores - shift(scores)).softmax(1).mean(0)
    tensor([0.5000, 0.5000])
    """
    moved = torch.zeros(scores.shape[1], dtype=scores.dtype)
    for _ in range(100):
        shares = ((scores - moved) / temperature).softmax(1).mean(0)
        moved = moved + temperature * (shares * scores.shape[1]).clamp(min=1e-6).log()
    return moved


def nearest(lm: LM, names: Words, template: Template, words: Mapping[str, int]) -> Float[Tensor, "labels words"]:
    """The cosine of each word's input vector with the mean of those of a label's name, less the mean over labels.

    Args:
        lm: the model.
        names: of `own_words`.
        template: at whose slot they are read.
        words: with their tokens.
    """
    mean = lm.vectors.float().cpu().mean(0)  # which all vectors have in common
    vectors = torch.nn.functional.normalize(lm.vectors[[*words.values()]].float().cpu() - mean, dim=1)
    rows = [[one for ids in some for one in ids] for some in names.tokens(lm, template).values()]
    labels = torch.stack([(lm.vectors[at].float().cpu() - mean).mean(0) for at in rows])
    cosines = torch.nn.functional.normalize(labels, dim=1) @ vectors.T
    return (cosines - cosines.mean(0)).double()
