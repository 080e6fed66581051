"""The one training loop."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from promptatlas.data.example import Example
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.train.fit import Fit
from promptatlas.train.loss import Batch, Loss
from promptatlas.train.optim import Optim
from promptatlas.train.plan import Plan, Term
from promptatlas.train.run import Run
from promptatlas.train.share import world
from promptatlas.train.trainee import trainee

__all__ = ["Batch", "Loss", "Term", "tune"]


def tune(
    prompt: Prompt,
    lm: LM,
    terms: Sequence[Term],
    *,
    optim: Optim | Mapping[str, Optim],
    steps: int,
    seed: int,
    dev: Sequence[Example] | None = None,
    keep: Literal["last", "best"] = "last",
    every: int = 100,
    patience: int | None = None,
    flat: float | None = 1e-3,
    micro: int | None = None,
    run: Run | None = None,
) -> Prompt:
    """Train every trainable part of a prompt; the prompt given and the model stay as they are.

    The seed alone fixes the batches; under several processes each takes a share of them. With a run folder, training
    goes on exactly where it was stopped.

    Args:
        prompt: its parts are where training starts.
        lm: the model they are trained for.
        terms: their weighted sum is made small.
        optim: how parts are moved; given by part name, parts that aren't named stay as they are.
        steps: the most steps.
        seed: of batches, dropout and whatever parts and losses draw.
        dev: examples to measure on.
        keep: parts after the last step, or those with the best dev accuracy (of equal ones, the lowest dev loss). Of
            tags that is an example's share of right ones; where targets are neither labels nor tags, the first term's
            loss on the dev examples decides.
        every: steps between two measurements.
        patience: measurements without a better one after which training stops.
        flat: training stops when for three windows of 100 steps the mean loss hasn't fallen by this share of the first
            window's; None: never.
        micro: most examples that go through the model at once; it splits batches, and changes nothing but the sums'
            rounding and what dropout draws.
        run: keeps checkpoints, is told of progress, may stop training; then its `figures` say what was measured.

    Returns:
        The prompt with its trained parts, on the CPU and out of training mode.

    Raises:
        NeedsError: no part is trainable, or the model gives no gradients.
        SettingError: a setting that can't be.
        ArtifactError: the run folder holds a checkpoint of other settings.
        Cancelled: the run said to stop; a checkpoint was written.
        PromptAtlasError: the loss is not a number any more.
    """
    plan = Plan(tuple(terms), steps, seed, tuple(dev or ()), keep, every, patience, flat, micro)
    plan.check()
    run = run or Run()
    place = run.place()
    settings = {} if place is None else plan.settings(prompt, lm, optim)  # hashes the model: only where it is kept
    fit = Fit(plan, trainee(prompt, lm, optim), lm, run, world(lm.device), place, settings)
    on_gpu = [lm.device] if lm.device.type == "cuda" else []
    with torch.random.fork_rng(devices=on_gpu):  # dropout draws from the global generators; they are left as they were
        return fit.fit()
