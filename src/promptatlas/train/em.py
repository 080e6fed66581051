"""Which of several prompts answers which example: mixture weights by expectation and maximisation.

Qin & Eisner 2021, "Learning How to Ask", arXiv:2104.06599.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from warnings import warn

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.lm.lm import LM
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.train.loss import Batch, nll_among_all

LEAST = 1e-12  # a weight of 0 could never grow again


def answered(prompts: Sequence[Prompt], lm: LM, examples: Sequence[Example]) -> Float[Tensor, "examples prompts"]:
    """Log-probability that each prompt gives each example's answer under the whole vocabulary; without gradients."""
    batch = Batch(tuple(examples), tuple(range(len(examples))), 0, torch.Generator())
    with torch.no_grad():
        return torch.stack([-nll_among_all(one, lm, batch) for one in prompts], -1).double().cpu()


def responsible(
    logp: Float[Tensor, "examples prompts"], weights: Float[Tensor, " prompts"]
) -> Float[Tensor, "examples prompts"]:
    """How much each prompt is responsible for each answer: its weight times its probability, brought to sum to one.

    Where no prompt gives an answer any probability, the weights themselves, with a warning.
    """
    joint = logp + weights.log()
    lost = ~joint.isfinite().any(-1)
    if bool(lost.any()):
        warn(f"{int(lost.sum())} answers have no probability under any prompt", stacklevel=2)
    return torch.where(lost[:, None], weights, joint.masked_fill(lost[:, None], 0.0).softmax(-1))


def weighed(shares: Float[Tensor, "examples prompts"]) -> Float[Tensor, " prompts"]:
    """The weights that suit these responsibilities best: their means, none quite zero."""
    means = shares.mean(0).clamp(min=LEAST)
    return means / means.sum()


def mixed_nll(logp: Float[Tensor, "examples prompts"], weights: Float[Tensor, " prompts"]) -> float:
    """Minus the log-probability of all answers under the mixture, summed."""
    return float(-(logp + weights.log()).logsumexp(-1).sum())


def effective(weights: Float[Tensor, " prompts"]) -> float:
    """How many prompts the mixture is worth: the exponential of the weights' entropy."""
    return math.exp(float(torch.special.entr(weights).sum()))


def accuracy(prompt: Prompt | Ensemble, lm: LM, examples: Sequence[Example]) -> float:
    """Share of the examples whose answer the prompt finds likeliest."""
    told = prompt.predict(lm, examples)
    return sum(one.value == example.target for one, example in zip(told, examples, strict=True)) / len(examples)


@dataclass(frozen=True, eq=False)
class Shared:
    """The loss of one prompt of a mixture: each example counts by how far the prompt is responsible for it."""

    shares: Float[Tensor, " examples"]

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """Minus the log-probability of each answer under the vocabulary, times the share."""
        losses = nll_among_all(prompt, lm, batch)
        return self.shares[list(batch.indices)].to(losses) * losses

    def key(self) -> str:
        """The same for equal shares."""
        return f"shared {sha256(self.shares.contiguous().numpy().tobytes()).hexdigest()}"
