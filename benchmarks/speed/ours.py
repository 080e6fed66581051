"""What is measured of promptatlas, by its public functions alone."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from benchmarks.speed.with_peft import Sample

from promptatlas.data.example import Example
from promptatlas.demos.pick import Random
from promptatlas.lm.ask import Job
from promptatlas.lm.local import LocalLM
from promptatlas.parts.prefix import normal
from promptatlas.parts.vectors import uniform
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.text.runs import TextRun
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.optim import Optim

BATCH = 16
RATE = 1e-3
TEMPLATES = {"masked": "{text} it was {mask} .", "causal": "{text} it was {mask}", "seq2seq": "{text} it was {mask}"}


def first(lm: LocalLM, words: Mapping[str, str]) -> Prompt:
    """A prompt of this benchmark, nothing learned."""
    return prompt(TEMPLATES[lm.kind], words)


def begun(lm: LocalLM, words: Mapping[str, str], method: str, length: int) -> Prompt:
    """The prompt with what is trained: `method` "soft", leading vectors, or "prefix"."""
    start = first(lm, words)
    if method == "soft":
        return start.lead(soft=uniform(lm, length, seed=0))
    return start.plus(prefix=normal(lm, length, seed=0, scale=0.1))


def samples(lm: LocalLM, start: Prompt, some: Sequence[Example]) -> list[Sample]:
    """The rows of examples as a peer gets them, without parts in front."""
    bare = prompt(TEMPLATES[lm.kind], start.words)
    found = bare.reader(lm).encode(bare.lines(lm, some)[0])
    targets = [start.labels.index(str(one.target)) for one in some]
    return [
        Sample(row.ids, row.feed, row.slots[0].positions[0], target) for row, target in zip(found, targets, strict=True)
    ]


def words(lm: LocalLM, start: Prompt) -> list[int]:
    """The first token of each label's word."""
    before = start.template.before(start.template.slots[0])
    return [lm.word(str(start.words.word(label)), before)[0] for label in start.labels]


def step(lm: LocalLM, start: Prompt, some: Sequence[Example]) -> Prompt:
    """One step of training on one batch, from the first forward pass to the moved part."""
    terms = [Term(some, nll, batch=len(some))]
    return tune(start, lm, terms, optim=Optim(lr=RATE, clip=None), steps=1, seed=0, flat=None)


def scores(lm: LocalLM, start: Prompt, some: Sequence[Example]) -> torch.Tensor:
    """Log-probabilities of the labels."""
    with torch.no_grad():
        return start.score(lm, some)


def shown(lm: LocalLM, words: Mapping[str, str], pool: Sequence[Example], k: int, seed: int) -> Prompt:
    """A prompt with the same `k` demonstrations, drawn by seed, before every question."""
    return replace(first(lm, words), demos=Random(pool=tuple(pool), k=k, seed=seed, balanced=True))


def contexts(lm: LocalLM, start: Prompt, some: Sequence[Example]) -> list[str]:
    """The text before each example's slot, demonstrations included."""
    lines = start.lines(lm, some)[0]
    found = [start.reader(lm).runs(line) for line in lines]
    return ["".join(run.text for run in runs if isinstance(run, TextRun)).rstrip(" ") for runs in found]


def jobs(lm: LocalLM, prompts: Sequence[Prompt], some: Sequence[Example]) -> list[Job]:
    """A job an example, prompts taken in turn."""
    made: dict[int, Job] = {}
    for at, one in enumerate(prompts):
        mine = range(at, len(some), len(prompts))
        lines = one.lines(lm, [some[i] for i in mine])[0]
        asked = [one.words.queries(lm, line.template, line.example, parts=one.parts)[0].asks for line in lines]
        encoded = one.reader(lm).encode(lines)
        made |= {i: Job(row, asks, one.parts) for i, row, asks in zip(mine, encoded, asked, strict=True)}
    return [made[i] for i in range(len(some))]


def batches(some: Sequence[Example], count: int, seed: int) -> list[list[Example]]:
    """Logical batches of 16, drawn by seed."""
    order = list(some)
    random.Random(f"speed batches {seed}").shuffle(order)
    return [order[at * BATCH : (at + 1) * BATCH] for at in range(count)]
