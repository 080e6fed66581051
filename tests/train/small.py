"""A prompt small enough to train in a test: a random model, four vectors before a sentence, two labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.lm.lm import LM
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

WORDS = {"up": ("good",), "down": ("bad",)}
ANIMALS = ("cat", "dog")


def lm() -> LM:
    return tiny("roberta")  # its vocabulary is the same in every process


def prompt(length: int = 4, **parts: Any) -> Prompt:
    bare = Prompt(template=Template.parse("{text} It was {mask}."), words=Words(words=WORDS))
    return bare.lead(soft=Vectors(lm().vectors[7 : 7 + length])).plus(**parts)


def examples(count: int = 12) -> tuple[Example, ...]:
    return tuple(
        Example({"text": f"the {ANIMALS[at % 2]} sat on the hill"}, tuple(WORDS)[at % 2], str(at))
        for at in range(count)
    )


def weight(tuned: Prompt, name: str = "soft") -> Tensor:
    return torch.cat([value.flatten() for value in tuned.parts[name].tensors().values()])


def numbers(values: Mapping[str, Tensor] | Sequence[Tensor]) -> list[list[float]]:
    some = values.values() if isinstance(values, Mapping) else values
    return [one.flatten().tolist() for one in some]
