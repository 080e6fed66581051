"""Orders of demonstrations, and how even the predictions are that each brings about.

Lu, Bartolo, Moore, Riedel & Stenetorp 2022, "Fantastically Ordered Prompts and Where to Find Them", arXiv:2104.08786.
"""

import math
import random
from collections import Counter
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.demos.pool import texts
from promptatlas.errors import SettingError

Order = tuple[int, ...]


def orders(examples: Sequence[Example], most: int = 24, seed: int = 0) -> list[Order]:
    """Distinct orders of examples, as places among those given: all where they are `most` or fewer, else a sample.

    The given order comes first, the others sorted. Two that would show the same are one.

    Raises:
        SettingError: `most` below 1.

    >>> orders([Example({"text": one}) for one in "aba"])
    [(0, 1, 2), (0, 2, 1), (1, 0, 2)]
    """
    if most < 1:
        raise SettingError(f"{most} orders of demonstrations", hint="1 is the order they are given in")
    alike: dict[object, list[int]] = {}
    for at, one in enumerate(examples):
        alike.setdefault((texts(one), one.target), []).append(at)
    names = [some[0] for some in alike.values() for _ in some]
    count = math.factorial(len(names)) // math.prod(math.factorial(n) for n in Counter(names).values())
    given = tuple(range(len(names)))
    found, rng = {given}, random.Random(f"orders/{seed}")
    while len(found) < min(most, count):
        rng.shuffle(names)
        turns = {some[0]: iter(some) for some in alike.values()}
        found.add(tuple(next(turns[name]) for name in names))
    return [given, *sorted(found - {given})]


def global_entropy(shares: Float[Tensor, "orders probes labels"], unseen: float = 0.0) -> Float[Tensor, " orders"]:
    """GlobalE (sec. 4.2): the entropy, in nats, of how often each label is the likeliest; 0 where it is always one.

    Args:
        shares: probabilities of labels, or anything that ranks them.
        unseen: times a label counts that is never the likeliest (the released code has 1e-5).

    >>> shares = torch.eye(2)[[0, 0, 1, 0]]
    >>> round(float(global_entropy(shares[None])), 6)
    0.562335
    """
    counts = torch.nn.functional.one_hot(shares.argmax(-1), shares.shape[-1]).double().sum(1)
    counts = counts.masked_fill(counts == 0, unseen)
    return _entropy(counts)


def local_entropy(shares: Float[Tensor, "orders probes labels"]) -> Float[Tensor, " orders"]:
    """LocalE (sec. 4.2): the mean entropy, in nats, of the labels' probabilities for one probe, brought to sum to one.

    >>> round(float(local_entropy(torch.tensor([[[0.9, 0.1], [5.0, 5.0]]], dtype=torch.float64))), 6)
    0.509115
    """
    return _entropy(shares.double()).mean(-1)


def _entropy(masses: Float[Tensor, "*some labels"]) -> Float[Tensor, "*some"]:
    share = masses / masses.sum(-1, keepdim=True)
    entropy: Tensor = torch.special.entr(share).sum(-1)
    return entropy
