"""What work costs as it grows, on the small models of the package: rows, prompts in one batch, demonstrations."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from benchmarks.speed import ours
from benchmarks.speed.count import peak
from benchmarks.speed.setup import Setup, versions

import promptatlas
from promptatlas.data.example import Example
from promptatlas.lm.local import LocalLM
from promptatlas.parts.vectors import uniform

COMMON = (
    "a the film story actor scene road house light night good bad long short warm cold old new great dull it he she "
    "they made found left saw and but with over under in of for"
)
WORDS = tuple(COMMON.split())
LABELS = {"good": "great", "bad": "terrible"}
POINTS = {
    "rows": (1_000, 3_000, 10_000, 30_000, 100_000),
    "prompts": (1, 3, 10, 30, 100, 300, 1_000),
    "demonstrations": (1, 2, 4, 8, 16, 32, 64),
}
MODELS = {"rows": "pocket-masked", "prompts": "pocket-masked", "demonstrations": "pocket-causal"}
LONG, ROWS, QUESTIONS, VECTORS = 8, 1_000, 32, 4  # words of a text; what stays where something else grows


@dataclass(frozen=True)
class Growth:
    """A point of a curve: what grows ("rows", "prompts" or "demonstrations"), and how many there are."""

    what: str
    many: int

    settings: ClassVar[tuple[str, ...]] = ()


def drawn(count: int, seed: int) -> list[Example]:
    """Labelled texts of words that everybody knows."""
    chance = random.Random(f"speed growth {seed}")
    found = [" ".join(chance.choice(WORDS) for _ in range(LONG)) for _ in range(count)]
    return [Example({"text": one}, chance.choice(list(LABELS)), f"{seed} {at}") for at, one in enumerate(found)]


def measure(case: Growth, setup: Setup, figure: str) -> tuple[dict[str, Any], str]:
    """Processor seconds and peak memory of one call."""
    lm = promptatlas.load(MODELS[case.what], "cpu")
    run = {"rows": _rows, "prompts": _prompts, "demonstrations": _shown}[case.what](lm, case.many)
    ours.scores(lm, ours.first(lm, LABELS), drawn(8, 9))
    seconds: list[float] = []

    def timed() -> None:
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)

    held = peak(timed)
    return {"ours": seconds[0], "bytes": held, "many": case.many}, versions("transformers", "torch")


def _rows(lm: LocalLM, many: int) -> Callable[[], object]:
    start, some = ours.first(lm, LABELS), drawn(many, 0)
    return lambda: ours.scores(lm, start, some)


def _prompts(lm: LocalLM, many: int) -> Callable[[], object]:
    start, some = ours.first(lm, LABELS), drawn(ROWS, 0)
    prompts = [start.lead(soft=uniform(lm, VECTORS, seed=at)) for at in range(many)]
    jobs = ours.jobs(lm, prompts, some)

    def run() -> None:
        with torch.no_grad():
            lm.read(jobs)

    return run


def _shown(lm: LocalLM, many: int) -> Callable[[], object]:
    start, some = ours.shown(lm, LABELS, drawn(4 * many, 1), many, 0), drawn(QUESTIONS, 0)
    return lambda: ours.scores(lm, start, some)
