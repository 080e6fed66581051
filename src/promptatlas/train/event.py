"""Tokens as events: each comes about or doesn't, whatever else the vocabulary holds."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.lm.ask import Places
from promptatlas.lm.row import Row

LEAST = -100.0  # the least a logarithm is in torch's own binary cross-entropy
HALF = math.log(2)


def log1mexp(logp: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """log(1 - exp(logp)), of a probability near 0 as exact as of one near 1, and never below -100.

    >>> [round(float(log1mexp(torch.tensor(one))), 3) for one in (-1e-6, -1.0, -20.0, 0.0)]
    [-13.816, -0.459, -0.0, -100.0]
    """
    sure = logp >= 0  # rounded to a probability of 1: no gradient comes from there
    safe = logp.masked_fill(sure, -HALF)
    likely = torch.log(-torch.expm1(safe.clamp(min=-HALF)))
    rare = torch.log1p(-torch.exp(safe.clamp(max=-HALF)))
    return torch.where(safe > -HALF, likely, rare).masked_fill(sure, LEAST).clamp(min=LEAST)


def surprise(logp: Float[Tensor, "*any"], so: bool) -> Float[Tensor, "*any"]:
    """Binary cross-entropy of events of these log-probabilities, all of which are so, or none."""
    return -logp if so else -log1mexp(logp)


def hide(row: Row, places: Sequence[int], mask: int) -> tuple[Row, Places]:
    """The row with masks at these places, and the question what they were."""
    ids = list(row.ids)
    for at in places:
        ids[at] = mask
    return replace(row, ids=tuple(ids)), Places(tuple(places), tuple(row.ids[at] for at in places))
