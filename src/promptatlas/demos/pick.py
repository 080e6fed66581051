"""Which examples are shown before a query: none, the same to all, a draw, or the nearest."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.demos.nearest import Nearest
from promptatlas.demos.pool import Pool, check_count, from_json, in_turns, texts, to_json
from promptatlas.demos.room import Drop
from promptatlas.lm.lm import LM

__all__ = ["Demos", "Fixed", "Nearest", "NoDemos", "Random"]


@runtime_checkable
class Demos(Protocol):
    """Chooses demonstrations."""

    kind: ClassVar[str]
    version: ClassVar[int]

    @property
    def fixed(self) -> bool:
        """Whether all queries are shown the same (but for one that is among them itself)."""

    @property
    def drop(self) -> Drop:
        """The end at which they go first where the window is short."""

    def pick(self, lm: LM, examples: Sequence[Example], *, draw: int = 0) -> list[list[Example]]:
        """Of each example its demonstrations, in the order shown; never the example itself.

        Args:
            lm: the model that will be shown them.
            examples: the queries.
            draw: another one gives other demonstrations, where they are drawn.
        """

    def config(self) -> dict[str, Any]:
        """JSON that, with the tensors, rebuilds it."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What isn't JSON, by name."""

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Demos":
        """The choice again."""


@dataclass(frozen=True)
class NoDemos:
    """No demonstrations."""

    kind: ClassVar[str] = "none"
    version: ClassVar[int] = 1
    fixed: ClassVar[bool] = True
    drop: ClassVar[Drop] = "first"

    def pick(self, lm: LM, examples: Sequence[Example], *, draw: int = 0) -> list[list[Example]]:
        """None for each."""
        return [[] for _ in examples]

    def config(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "NoDemos":
        """The same again."""
        return cls()


@dataclass(frozen=True)
class Fixed:
    """These, in this order, for every query; one that is among them isn't shown to itself."""

    kind: ClassVar[str] = "fixed"
    version: ClassVar[int] = 1
    fixed: ClassVar[bool] = True
    drop: ClassVar[Drop] = "first"

    examples: tuple[Example, ...]

    def pick(self, lm: LM, examples: Sequence[Example], *, draw: int = 0) -> list[list[Example]]:
        """All of them for each."""
        own = [self._pool.own(query) for query in examples]
        return [[one for i, one in enumerate(self.examples) if i not in mine] for mine in own]

    def config(self) -> dict[str, Any]:
        """The examples."""
        return {"examples": [to_json(one) for one in self.examples]}

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Fixed":
        """The same again."""
        return cls(tuple(from_json(one) for one in config["examples"]))

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.examples)


@dataclass(frozen=True, kw_only=True)
class Random:
    """Drawn from a pool, in an order that is drawn too. The seed, the draw and the pool alone decide.

    Attributes:
        pool: what is drawn from.
        k: how many; fewer only where the query takes the last one.
        seed: of all draws.
        balanced: as many of each target as can be.
        each: drawn anew for each query, by its key or its texts; otherwise all queries are shown the same, and one that
            is among them is shown another in its place.
        shuffle: another number shows the same in another order.
    """

    kind: ClassVar[str] = "random"
    version: ClassVar[int] = 1
    drop: ClassVar[Drop] = "first"

    pool: tuple[Example, ...]
    k: int
    seed: int
    balanced: bool = True
    each: bool = False
    shuffle: int = 0

    def __post_init__(self) -> None:
        """Refuse a number the pool doesn't hold."""
        check_count(self.k, len(self.pool))

    @property
    def fixed(self) -> bool:
        """Whether all queries are shown the same."""
        return not self.each

    def pick(self, lm: LM, examples: Sequence[Example], *, draw: int = 0) -> list[list[Example]]:
        """A draw for all, or one for each."""
        drawn: dict[tuple[str, frozenset[int]], list[int]] = {}
        picked = []
        for query in examples:
            own = self._pool.own(query)
            name = f"{self.seed}/{draw}/{query.key or texts(query)}" if self.each else f"{self.seed}/{draw}"
            if (name, own) not in drawn:
                drawn[name, own] = self._drawn(name, own)
            picked.append([self.pool[i] for i in drawn[name, own]])
        return picked

    def config(self) -> dict[str, Any]:
        """Its fields."""
        return {
            "pool": [to_json(one) for one in self.pool],
            "k": self.k,
            "seed": self.seed,
            "balanced": self.balanced,
            "each": self.each,
            "shuffle": self.shuffle,
        }

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Random":
        """The same again."""
        return cls(**{**config, "pool": tuple(from_json(one) for one in config["pool"])})

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.pool)

    def _drawn(self, name: str, own: frozenset[int]) -> list[int]:
        """Indices in the order shown. As many more are drawn, always, as it takes to stand in for a query's own."""
        rng = random.Random(name)  # seeded by a hash of the text, the same on every machine
        groups = list(self._pool.groups) if self.balanced else [tuple(range(len(self.pool)))]
        rng.shuffle(groups)
        most = self.k + self._pool.most_alike
        drawn = [[i for i in rng.sample(some, min(most, len(some))) if i not in own] for some in groups]
        turns = in_turns(drawn)[: self.k]
        rng.shuffle(turns)
        if self.shuffle:
            random.Random(f"{name}/{self.shuffle}").shuffle(turns)
        return turns
