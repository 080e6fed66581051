"""Candidates that answer together: what they would have done on held-out examples, and the prompt they become."""

from collections.abc import Sequence
from itertools import combinations

import torch

from promptatlas.prompting import Ensemble, Prompt
from promptatlas.train import warmed
from promptatlas.train.choice import Held


def groups(count: int, most: int) -> list[tuple[int, ...]]:
    """All sets of two candidates or more, up to `most`, the small ones first.

    >>> groups(3, 2)
    [(0, 1), (0, 2), (1, 2)]
    """
    return [some for size in range(2, most + 1) for some in combinations(range(count), size)]


def together(members: Sequence[Held]) -> Held:
    """What candidates do together: the mean of their log-probabilities, brought to sum to one.

    Args:
        members: what each did on the same examples; one alone did what it did.

    >>> one, other = Held(shares=((0.9, 0.1),), places=(0,)), Held(shares=((0.1, 0.9),), places=(0,))
    >>> together([one, other]).shares
    ((0.5, 0.5),)
    """
    failed = next((one.failed for one in members if one.failed), "")
    if failed:
        return Held(failed=failed)
    if len(members) == 1:
        return members[0]
    shares = torch.stack([warmed.logp([one]) for one in members]).mean(0).softmax(-1)
    right = shares.argmax(-1) == torch.tensor(members[0].places)
    return warmed.told(shares, members[0].places, right.tolist())


def ensemble(members: Sequence[Prompt | Ensemble]) -> Prompt | Ensemble:
    """The prompt that answers as `together` does; one alone is itself. One that is an ensemble joins as a whole."""
    if len(members) == 1:
        return members[0]
    prompts: list[Prompt] = []
    weights: list[float] = []
    for one in members:
        some = one.prompts if isinstance(one, Ensemble) else (one,)
        shares = one.weights if isinstance(one, Ensemble) else (1.0,)
        prompts += some
        weights += [share / sum(shares) for share in shares]
    return Ensemble(prompts=tuple(prompts), weights=tuple(weights))
