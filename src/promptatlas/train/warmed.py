"""Held-out answers at the temperature that other held-out answers suit: a model of few labels is too sure of itself."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.score.temper import suiting
from promptatlas.train.choice import Held, lost
from promptatlas.train.folds import Fold, Kind


def fitted(held: Sequence[Held]) -> float:
    """The temperature that suits all of these; of none, 1."""
    if not any(one.shares for one in held):
        return 1.0
    return suiting(logp(held), [at for one in held for at in one.places])


def at(held: Held, temperature: float) -> Held:
    """The same answers, less sure."""
    if held.failed or temperature == 1:
        return held
    return told((logp([held]) / temperature).softmax(-1), held.places, held.right)


def each(held: Sequence[Held], folds: Sequence[Fold], kind: Kind) -> list[Held]:
    """Each at a temperature that others suit: under "cv" all others, else those of the same order before it."""
    found = []
    for place, (one, fold) in enumerate(zip(held, folds, strict=True)):
        others = [
            other
            for there, (other, of) in enumerate(zip(held, folds, strict=True))
            if there != place and (kind == "cv" or (of.order == fold.order and len(of.train) < len(fold.train)))
        ]
        found.append(at(one, fitted(others)))
    return found


def told(shares: Float[Tensor, "examples answers"], places: Sequence[int], right: Sequence[bool]) -> Held:
    """What these probabilities of answers lose, where the right ones stand at these places."""
    rows = tuple(map(tuple, shares.tolist()))
    loss = tuple(lost(some[place]) for some, place in zip(rows, places, strict=True))
    return Held(loss, tuple(right), shares=rows, places=tuple(places))


def logp(held: Sequence[Held]) -> Float[Tensor, "examples answers"]:
    """Log-probabilities of the answers, in float64; none is minus infinity."""
    rows = [some for one in held for some in one.shares]
    return torch.tensor(rows, dtype=torch.float64).clamp(min=1e-30).log()
