"""Examples that are near to a query and far from each other: maximal marginal relevance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.demos.nearest import DECIMALS, Nearest
from promptatlas.demos.pool import check_count
from promptatlas.demos.room import Drop
from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM


@dataclass(frozen=True, kw_only=True, eq=False)
class Diverse:
    """k examples chosen one after the other (Carbonell & Goldstein 1998), by the vectors of an index.

    The next is the one of the largest `relevance` · s(it, query) - (1 - `relevance`) · max s(it, one that was chosen);
    of equals the one earlier in the pool. The first is the nearest.

    Attributes:
        index: says how near examples are to queries and to each other; its order is the order shown: under
            "nearest_first" the first that was chosen stands first.
        k: how many; fewer only where too many of the pool are left out.
        relevance: λ: 1 is nearness alone; 0 keeps as far as can be from what was chosen, after the first.
    """

    kind: ClassVar[str] = "diverse"
    version: ClassVar[int] = 1
    fixed: ClassVar[bool] = False

    index: Nearest
    k: int
    relevance: float = 0.5

    def __post_init__(self) -> None:
        """Refuse settings that can't be met."""
        check_count(self.k, len(self.index.pool))
        if not 0 <= self.relevance <= 1:
            raise SettingError(f"a relevance of {self.relevance}", hint="0 is diversity alone, 1 nearness alone")
        if self.index.metric == "bm25":
            raise SettingError("how alike demonstrations are isn't told by bm25", hint="take a metric of vectors")

    @property
    def drop(self) -> Drop:
        """The end where the last chosen stand."""
        return self.index.drop

    def pick(self, lm: LM, examples: Sequence[Example], *, draw: int = 0) -> list[list[Example]]:
        """Each query's, in the order shown.

        Raises:
            NeedsError: another model embedded the pool.
            DataError: a query lacks a field.
        """
        step = 1 if self.index.order == "nearest_first" else -1
        return [[self.index.pool[at] for at in places[::step]] for places in self.chosen(lm, examples)]

    def chosen(self, lm: LM, examples: Sequence[Example]) -> list[tuple[int, ...]]:
        """Where in the pool each query's are, in the order they were chosen."""
        if self.k == 0 or not examples:
            return [() for _ in examples]
        rows = self.index.similarities(lm, examples)
        return [marginal(near, self.index.among, self.k, self.relevance) for near in rows]

    def config(self) -> dict[str, Any]:
        """Its fields, but for the vectors."""
        return {"index": self.index.config(), "k": self.k, "relevance": self.relevance}

    def tensors(self) -> Mapping[str, Tensor]:
        """The vectors."""
        return self.index.tensors()

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Diverse":
        """The same again."""
        return cls(**{**config, "index": Nearest.build(config["index"], tensors)})


def marginal(
    near: Float[Tensor, " pool"], among: Callable[[int], Float[Tensor, " pool"]], k: int, relevance: float
) -> tuple[int, ...]:
    """Places of the pool chosen by maximal marginal relevance, in order.

    Args:
        near: how near each is to the query; -inf can't be chosen.
        among: how near all are to one of the pool.
        k: how many, where there are so many.
        relevance: λ.

    >>> near = torch.tensor([0.9, 0.8, 0.5])
    >>> alike = torch.tensor([[1, 0.9, 0.1], [0.9, 1, 0.3], [0.1, 0.3, 1]])
    >>> marginal(near, lambda at: alike[at], 2, 0.5), marginal(near, lambda at: alike[at], 2, 1.0)
    ((0, 2), (0, 1))
    """
    chosen: list[int] = []
    left, worth, most = near.clone(), near, torch.full_like(near, -torch.inf)
    for _ in range(min(k, int((near > -torch.inf).sum()))):
        chosen.append(int(worth.argmax()))  # of equals the first
        most = torch.maximum(most, among(chosen[-1]))
        left[chosen[-1]] = -torch.inf
        both = (relevance * near - (1 - relevance) * most).round(decimals=DECIMALS)
        worth = torch.where(left > -torch.inf, both, left)
    return tuple(chosen)
