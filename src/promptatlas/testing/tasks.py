"""A toy task that any method can learn: the label is told by one word of the text."""

import random

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words
from promptatlas.text.template import Template

TELLING = {"pets": ("cat", "dog"), "weather": ("rain", "hill")}
FILLING = ("the", "old", "grey", "town", "sat", "on", "mat", "over", "and", "while", "ran", "that", "movie", "film")
TEMPLATE = Template.parse("{text} It was {mask}")
WORDS = {"pets": ("good",), "weather": ("bad",)}


def toy(train: int = 32, dev: int = 8, test: int = 32, unlabeled: int = 8, *, seed: int = 0) -> Task:
    """Texts of a few common words, one of which tells the label ("pets" or "weather"); all four splits, balanced.

    The tiny models know every word of it.
    """
    rng = random.Random(seed)
    rest = (Example(one.fields, None, one.key) for one in _examples(rng, "unlabeled", unlabeled))
    return Task(
        name="toy",
        kind="label",
        fields=("text",),
        labels=tuple(TELLING),
        train=_examples(rng, "train", train),
        dev=_examples(rng, "dev", dev),
        test=_examples(rng, "test", test),
        unlabeled=tuple(rest),
        template=str(TEMPLATE),
        words=WORDS,
    )


def toy_prompt() -> Prompt:
    """A prompt for it that every kind of model can be asked."""
    return Prompt(template=TEMPLATE, words=Words(words=WORDS))


def _examples(rng: random.Random, split: str, size: int) -> tuple[Example, ...]:
    return tuple(_example(rng, tuple(TELLING)[number % 2], f"{split} {number}") for number in range(size))


def _example(rng: random.Random, label: str, key: str) -> Example:
    text = rng.sample(FILLING, rng.randint(2, 5))
    text.insert(rng.randint(0, len(text)), rng.choice(TELLING[label]))
    return Example({"text": " ".join(text)}, label, key)
