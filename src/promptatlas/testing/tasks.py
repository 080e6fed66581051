"""Toy tasks that any method can learn: the label is told by one word of the text, a tag by the word itself."""

import random
from dataclasses import replace

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import OUTSIDE, One, Tags
from promptatlas.prompting import Prompt
from promptatlas.score.own import Own
from promptatlas.score.slots import SlotWords
from promptatlas.score.words import Words
from promptatlas.text.template import Template

TELLING = {"pets": ("cat", "dog"), "weather": ("rain", "hill")}
FILLING = ("the", "old", "grey", "town", "sat", "on", "mat", "over", "and", "while", "ran", "that", "movie", "film")
TEMPLATE = Template.parse("{text} It was {mask}")
TAGS_TEMPLATE = Template.parse("{tokens:each}")
WRITTEN_TEMPLATE = Template.parse("{text} Topic : {mask}")
PAIRS_TEMPLATE = Template.parse("{text} The {mask:kind} {head!} sat on the {mask:place} {tail!}")
WORDS = {"pets": ("good",), "weather": ("bad",)}
PAIRS_WORDS = {"pets": ("good", "mat"), "weather": ("bad", "town")}


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


def toy_pairs(train: int = 32, dev: int = 8, test: int = 32, *, seed: int = 0) -> Task:
    """The same texts with two things of each, `head` and `tail`, between which the label is said to stand."""
    texts = toy(train, dev, test, 0, seed=seed)
    return replace(
        texts,
        name="toy pairs",
        fields=("text", "head", "tail"),
        train=tuple(map(_paired, texts.train)),
        dev=tuple(map(_paired, texts.dev)),
        test=tuple(map(_paired, texts.test)),
        unlabeled=(),
        template=str(PAIRS_TEMPLATE),
        words=PAIRS_WORDS,
    )


def toy_pairs_prompt() -> Prompt:
    """A prompt of two slots for it, which masked models can be asked."""
    return Prompt(template=PAIRS_TEMPLATE, words=SlotWords(words=PAIRS_WORDS))


def toy_tags(train: int = 32, dev: int = 8, test: int = 32, *, seed: int = 0) -> Task:
    """The same texts as lists of words, of which the telling one is tagged "B-pets" or "B-weather", all others "O"."""
    texts = toy(train, dev, test, 0, seed=seed)
    return Task(
        name="toy tags",
        kind="tags",
        fields=("tokens",),
        labels=(*(f"B-{label}" for label in TELLING), OUTSIDE),
        train=tuple(map(_tagged, texts.train)),
        dev=tuple(map(_tagged, texts.dev)),
        test=tuple(map(_tagged, texts.test)),
        template=str(TAGS_TEMPLATE),
    )


def toy_tags_prompt() -> Prompt:
    """What a method that trains a head starts from; it has nothing to answer with yet."""
    return Prompt(template=TAGS_TEMPLATE, words=Own(), view=Tags())


def toy_texts(train: int = 32, dev: int = 8, test: int = 32, *, seed: int = 0) -> Task:
    """The same texts, the label as a text to write, and under `rationale` the word that tells it."""
    texts = toy(train, dev, test, 0, seed=seed)
    return Task(
        name="toy texts",
        kind="text",
        fields=("text", "rationale"),
        train=tuple(map(_reasoned, texts.train)),
        dev=tuple(map(_reasoned, texts.dev)),
        test=tuple(map(_reasoned, texts.test)),
        template=str(WRITTEN_TEMPLATE),
    )


def toy_texts_prompt() -> Prompt:
    """A prompt for it that causal and seq2seq models can be asked."""
    return Prompt(template=WRITTEN_TEMPLATE, words=Own(), view=One())


def _reasoned(example: Example) -> Example:
    telling = next(word for word in str(example.fields["text"]).split() if word in TELLING[str(example.target)])
    return Example({**example.fields, "rationale": f"It is about the {telling}."}, example.target, example.key)


def _paired(example: Example) -> Example:
    words = str(example.fields["text"]).split()
    return Example({**example.fields, "head": words[0], "tail": words[-1]}, example.target, example.key)


def _tagged(example: Example) -> Example:
    words = str(example.fields["text"]).split()
    told = {word: f"B-{label}" for label, some in TELLING.items() for word in some}
    return Example({"tokens": words}, tuple(told.get(word, OUTSIDE) for word in words), example.key)


def _examples(rng: random.Random, split: str, size: int) -> tuple[Example, ...]:
    return tuple(_example(rng, tuple(TELLING)[number % 2], f"{split} {number}") for number in range(size))


def _example(rng: random.Random, label: str, key: str) -> Example:
    text = rng.sample(FILLING, rng.randint(2, 5))
    text.insert(rng.randint(0, len(text)), rng.choice(TELLING[label]))
    return Example({"text": " ".join(text)}, label, key)
