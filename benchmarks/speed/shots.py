"""Few-shot scoring: the same demonstrations before every question, labels of 1 or 3 tokens, against lm-eval."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from benchmarks.speed import floor, models, ours
from benchmarks.speed.cells import Skipped
from benchmarks.speed.compare import operations, times
from benchmarks.speed.count import Here
from benchmarks.speed.setup import Setup, versions
from benchmarks.speed.texts import examples, texts
from benchmarks.speed.training import CLOSE
from benchmarks.speed.with_lm_eval import Scored

import promptatlas
from promptatlas.data.example import Example
from promptatlas.lm.local import LocalLM
from promptatlas.prompting import Prompt

WHOLE = 0  # the number of the batch whose operations are counted; those that are timed follow


@dataclass(frozen=True)
class Shots:
    """One case.

    Attributes:
        model: its name, a causal one.
        answer: tokens of every label.
    """

    model: str
    answer: int

    settings: ClassVar[tuple[str, ...]] = ("questions", "timed", "pairs", "shots", "tiny")


@dataclass(frozen=True)
class Bench:
    """A case with what both parties need."""

    case: Shots
    setup: Setup

    @property
    def shape(self) -> models.Shape:
        """The model's sizes."""
        return self.setup.shape(self.case.model)

    @property
    def words(self) -> dict[str, str]:
        """The labels' words."""
        return models.SHORT if self.case.answer == 1 else models.LONG

    @cached_property
    def place(self) -> Path:
        """The model's folder."""
        return models.folder(self.shape, self.setup.root)

    @cached_property
    def lm(self) -> LocalLM:
        """The model as ours."""
        return promptatlas.load(self.place, "cpu")

    def drawn(self, count: int, seed: int) -> list[Example]:
        """Labelled texts."""
        return examples(texts(self.setup.lengths(), count, self.shape.words, seed), list(self.words), seed)

    def prompt(self, batch: int) -> Prompt:
        """The prompt of a batch: each has demonstrations of its own, so none is known from the one before."""
        return ours.shown(self.lm, self.words, self.drawn(4 * self.setup.shots, 100 + batch), self.setup.shots, batch)

    def questions(self, batch: int) -> list[Example]:
        """All questions, or as many of them as are timed."""
        some = self.drawn(self.setup.questions, 0)
        if batch == WHOLE:
            return some
        start = (batch - 1) * self.setup.timed % len(some)
        return (some * 2)[start : start + self.setup.timed]

    def mine(self, batch: int) -> torch.Tensor:
        """Our log-probabilities."""
        return ours.scores(self.lm, self.prompt(batch), self.questions(batch))

    def theirs(self) -> Callable[[int], torch.Tensor]:
        """The peer's. Raises Skipped where it isn't there."""
        self.setup.find_peers()
        try:
            scored = Scored(models.plain(self.shape, self.place), self.lm.tokenizer.backend, ours.BATCH)
        except ImportError as error:
            raise Skipped(f"lm-eval can't be imported: {error}", hint="make it: `peers`") from error
        contexts = lru_cache(maxsize=None)(lambda at: ours.contexts(self.lm, self.prompt(at), self.questions(at)))
        for at in range(self.setup.pairs + 2):  # what a task of lm-eval has ready before the model is asked
            contexts(at)
        return lambda batch: scored.logp(contexts(batch), list(self.words.values())).log_softmax(-1)

    def floor(self) -> int:
        """Operations of the whole batch at the least."""
        start, some = self.prompt(WHOLE), self.questions(WHOLE)
        whole = [len(one) for one in start.reader(self.lm).encode(start.lines(self.lm, some)[0])]
        own = [len(one.ids) for one in ours.samples(self.lm, start, some)]
        beginning = {all_of - mine for all_of, mine in zip(whole, own, strict=True)}
        if len(beginning) > 1:
            raise Skipped(f"demonstrations were left out for want of room: {sorted(beginning)} tokens in front")
        return floor.shots(self.shape, beginning.pop(), own, [self.case.answer] * len(self.words))


def measure(case: Shots, setup: Setup, figure: str) -> tuple[dict[str, Any], str]:
    """Values of a figure, and the versions beside it. Raises Skipped where the peer isn't there."""
    torch.manual_seed(0)
    bench = Bench(case, setup)
    named = "lm-eval, transformers, torch"
    theirs = bench.theirs()
    mine, peer = Here(bench.mine), Here(theirs)
    if figure == "time":
        found = times(mine, peer, range(1, setup.pairs + 1), warm=setup.pairs + 1)
        return {**found, "questions": setup.timed}, versions(*named.split(", "))
    least = bench.floor()
    apart = float((bench.mine(1) - theirs(1)).abs().max())
    if apart > CLOSE:
        raise Skipped(f"both sides compute different things: log-probabilities differ by {apart:.3g}")
    found = operations(mine, peer, [WHOLE])
    return {"apart": apart, **found, "floor": least, "questions": setup.questions}, versions(*named.split(", "))
