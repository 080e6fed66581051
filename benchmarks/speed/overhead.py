"""The share of a training step that is spent outside torch's operations: in Python, ours and transformers'."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import torch
from benchmarks.speed import models, ours, with_peft
from benchmarks.speed.setup import Setup, versions
from benchmarks.speed.texts import examples, texts
from torch.profiler import ProfilerActivity, profile

import promptatlas
from promptatlas.parts.vectors import uniform
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.optim import Optim

LENGTH, STEPS = 20, 2


@dataclass(frozen=True)
class Overhead:
    """One case: the model's name."""

    model: str

    settings: ClassVar[tuple[str, ...]] = ("pairs", "tiny")


def measure(case: Overhead, setup: Setup, figure: str) -> tuple[dict[str, Any], str]:
    """Shares of ours and, as "peer", of transformers' model alone on the same rows: medians of runs."""
    shape = setup.shape(case.model)
    place = models.folder(shape, setup.root)
    lm = promptatlas.load(place, "cpu")
    some = examples(texts(setup.lengths(), STEPS * ours.BATCH, shape.words, 0), list(models.TRAINED), 0)
    start = ours.begun(lm, models.TRAINED, "soft", LENGTH)
    optim = Optim(lr=ours.RATE, clip=None)

    def mine() -> None:
        tune(start, lm, [Term(some, nll, batch=ours.BATCH)], optim=optim, steps=STEPS, seed=0, flat=None)

    batches = [ours.samples(lm, start, batch) for batch in ours.batches(some, STEPS, 0)]
    vectors = uniform(lm, LENGTH, seed=0).weight.detach()
    theirs = plain(models.plain(shape, Path(place)), batches, ours.words(lm, start), vectors, lm.tokenizer.pad)
    shares: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(max(3, setup.pairs // 2)):
        shares["ours"].append(outside(mine))
        shares["peer"].append(outside(theirs))
    found = {name: median(some) for name, some in shares.items()}
    return {**found, "ratio": found["ours"], "shares": shares}, versions("transformers", "torch")


def outside(run: Callable[[], object]) -> float:
    """The share of the wall time in which no operation of torch was under way.

    The profiler's own work on an operation falls partly outside it, so this is rather too much than too little.
    """
    with profile(activities=[ProfilerActivity.CPU]) as found:
        began = time.perf_counter()
        run()
        wall = time.perf_counter() - began
    inside: float = sum(one.self_cpu_time_total for one in found.key_averages()) / 1e6
    return max(0.0, 1 - inside / wall)


def plain(
    model: Any, batches: list[list[with_peft.Sample]], words: list[int], vectors: torch.Tensor, pad: int
) -> Callable[[], None]:
    """The same training with transformers and no library of prompts: the vectors in front of the input vectors."""
    model.eval().requires_grad_(False)
    part = torch.nn.Parameter(vectors.clone())
    optimiser = torch.optim.AdamW([part], lr=ours.RATE)
    made = [with_peft.collated(batch, "masked", pad) for batch in batches]

    def run() -> None:
        for batch in made:
            size = len(batch.slots)
            embedded = model.get_input_embeddings()(batch.inputs["input_ids"])
            fed = torch.cat([part.expand(size, -1, -1), embedded], 1)
            mask = torch.cat([torch.ones(size, len(part), dtype=torch.long), batch.inputs["attention_mask"]], 1)
            logits = model(inputs_embeds=fed, attention_mask=mask).logits
            read = logits[torch.arange(size), batch.slots + len(part)][:, words]
            torch.nn.functional.cross_entropy(read, batch.targets).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            optimiser.zero_grad()

    return run
