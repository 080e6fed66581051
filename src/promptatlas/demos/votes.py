"""Which examples of a pool are worth a label: those that are near to many which no chosen one is near to yet."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from promptatlas.demos.nearest import DECIMALS
from promptatlas.errors import SettingError


def vote_k(vectors: Float[Tensor, "examples hidden"], count: int, *, near: int = 150, rho: float = 10.0) -> list[int]:
    """Fast vote-k (Su et al. 2023, arXiv:2209.01975, sec. 2.1): places in the order they are chosen.

    Every example votes for the `near` others most like it by cosine. The next chosen is the one whose voters weigh
    most, where an example that isn't chosen weighs rho ** -(how many it voted for are chosen), and a chosen one
    nothing. Of equals the first; of equally near ones the first too.

    Raises:
        SettingError: a number that can't be.

    >>> vote_k(torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [-1.0, 0.0], [-1.0, 0.1]]), 2, near=1)
    [0, 3]
    """
    size = len(vectors)
    if not 0 <= count <= size:
        raise SettingError(f"{count} of {size} examples are to be chosen", hint=f"choose {size} at most")
    if near < 1 or rho <= 1:
        raise SettingError(f"votes for {near} neighbours, rho={rho}", hint="1 neighbour at least, and rho above 1")
    voted = _nearest(vectors, min(near, size - 1))
    heard = torch.zeros(size, dtype=torch.float64)  # of each example how many it voted for are chosen
    free = torch.ones(size, dtype=torch.bool)
    chosen: list[int] = []
    for _ in range(count):
        weights = torch.where(free, rho**-heard, 0.0)
        votes = weights.repeat_interleave(voted.shape[1])
        scores = torch.zeros(size, dtype=torch.float64).index_add(0, voted.flatten(), votes).round(decimals=DECIMALS)
        chosen.append(int(torch.where(free, scores, -torch.inf).argmax()))
        free[chosen[-1]] = False
        heard += (voted == chosen[-1]).any(1)
    return chosen


def _nearest(vectors: Float[Tensor, "examples hidden"], count: int) -> Int64[Tensor, "examples near"]:
    """Of each example the others most like it."""
    unit = torch.nn.functional.normalize(vectors.double(), dim=-1, eps=1e-12)
    places = []
    for at in range(len(unit)):
        similar = (unit @ unit[at]).round(decimals=DECIMALS)
        similar[at] = -torch.inf
        places.append(similar.sort(descending=True, stable=True).indices[:count])
    return torch.stack(places) if places else torch.zeros(0, 0, dtype=torch.int64)
