"""One batch whose rows have 32 different soft prompts, against the same rows under one of them."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from benchmarks.speed import models, ours
from benchmarks.speed.compare import operations, times
from benchmarks.speed.count import Here
from benchmarks.speed.setup import Setup, versions
from benchmarks.speed.texts import examples, texts

import promptatlas
from promptatlas.lm.ask import Job
from promptatlas.lm.local import LocalLM
from promptatlas.parts.vectors import uniform

PROMPTS, ROWS, LENGTH = 32, 64, 20


@dataclass(frozen=True)
class Mixed:
    """One case: the model's name."""

    model: str

    settings: ClassVar[tuple[str, ...]] = ("pairs", "tiny")


def measure(case: Mixed, setup: Setup, figure: str) -> tuple[dict[str, Any], str]:
    """Values of a figure; "peer" is the batch under one prompt. What may be kept between batches is warm."""
    shape = setup.shape(case.model)
    lm = promptatlas.load(models.folder(shape, setup.root), "cpu")
    start = ours.first(lm, models.TRAINED)
    prompts = [start.lead(soft=uniform(lm, LENGTH, seed=at)) for at in range(PROMPTS)]
    some = examples(texts(setup.lengths(), ROWS, shape.words, 0), list(models.TRAINED), 0)
    many, one = ours.jobs(lm, prompts, some), ours.jobs(lm, prompts[:1], some)
    sides = Here(lambda _: _read(lm, many)), Here(lambda _: _read(lm, one))
    for side in sides:
        side.seconds(0)
    found = times(*sides, range(setup.pairs)) if figure == "time" else operations(*sides, [0])
    return found, versions("transformers", "torch")


def _read(lm: LocalLM, some: list[Job]) -> None:
    with torch.no_grad():
        lm.read(some)
