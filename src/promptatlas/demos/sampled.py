"""One demonstration a label, drawn from those of its examples that are most like the query."""

import random
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.demos.nearest import Nearest
from promptatlas.demos.pool import texts
from promptatlas.demos.room import Drop
from promptatlas.errors import DataError, SettingError
from promptatlas.lm.lm import LM

KNOWN = 4096  # queries whose neighbours are remembered


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """Of every label one example, in the order of the labels (Gao, Fisch & Chen 2021, arXiv:2012.15723, sec. 6).

    A label's example is drawn from those nearest to the query, by a seed, the number of the draw, and the query itself,
    which is never among them. Of n examples beside the query, int(n // labels * share) of each label may be drawn; one
    at least.

    Attributes:
        index: ranks all its pool by nearness (its `k` is the size of the pool).
        labels: in the order shown; every one needs an example in the pool.
        share: of a label's examples, how many may be drawn: 1 is all, and looks at no vector.
        draws: so many draws are averaged over when the prompt answers.
        first: the number of the first draw.
        seed: of all draws.
    """

    kind: ClassVar[str] = "sampled"
    version: ClassVar[int] = 1
    fixed: ClassVar[bool] = False
    drop: ClassVar[Drop] = "first"

    index: Nearest
    labels: tuple[str, ...]
    share: float = 0.5
    draws: int = 1
    first: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that can't be met, and labels without an example."""
        if not 0 < self.share <= 1 or self.draws < 1:
            said = f"share={self.share}, draws={self.draws}"
            raise SettingError(f"demonstrations of {said}", hint="the share is above 0 and 1 at most, draws 1 or more")
        for label in self.labels:
            if not any(one.target == label for one in self.index.pool):
                raise SettingError(f"no example of the pool has the label `{label}`", hint="give two of each label")

    @classmethod
    def over(
        cls,
        lm: LM,
        examples: Sequence[Example],
        labels: Sequence[str],
        *,
        share: float = 0.5,
        draws: int = 1,
        seed: int = 0,
        fields: Sequence[str] | None = None,
    ) -> "Sampled":
        """Over these examples, embedded by the model; by all their fields of text where `fields` isn't given.

        Raises:
            SettingError: a share or a number of draws that can't be, or a label without an example.
            DataError: an example lacks a field.
        """
        index = Nearest.over(lm, examples, k=len(examples), fields=fields)
        return cls(index=index, labels=tuple(labels), share=share, draws=draws, seed=seed)

    def again(self, first: int) -> "Sampled":
        """The same with one draw, of this number; what is known of queries is shared."""
        one = copy(self)
        for name, value in {"first": first, "draws": 1, "_known": self._known}.items():
            object.__setattr__(one, name, value)
        return one

    def pick(self, lm: LM, examples: Sequence[Example], *, draw: int = 0) -> list[list[Example]]:
        """Of each query one example a label, in the labels' order.

        Raises:
            DataError: a label has no example but the query itself.
            NeedsError: another model embedded the pool.
        """
        return [self._drawn(one, near, draw) for one, near in zip(examples, self._near(lm, examples), strict=True)]

    def config(self) -> dict[str, Any]:
        """Its fields, but for the vectors."""
        return {
            "index": self.index.config(),
            "labels": list(self.labels),
            "share": self.share,
            "draws": self.draws,
            "first": self.first,
            "seed": self.seed,
        }

    def tensors(self) -> Mapping[str, Tensor]:
        """The vectors."""
        return self.index.tensors()

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Sampled":
        """The same again."""
        index = Nearest.build(config["index"], tensors)
        return cls(**{**config, "index": index, "labels": tuple(config["labels"])})

    @cached_property
    def _known(self) -> dict[object, tuple[int, ...]]:
        return {}

    def _near(self, lm: LM, examples: Sequence[Example]) -> list[tuple[int, ...]]:
        """Where in the pool each query's neighbours are, the nearest first; each query is embedded once."""
        known = self._known
        keys = [(one.key, texts(one)) for one in examples]
        new = {key: one for key, one in zip(keys, examples, strict=True) if key not in known}
        if len(known) + len(new) > KNOWN:
            known.clear()
            new = dict(zip(keys, examples, strict=True))
        found = self.index.neighbours(lm, list(new.values()))
        known.update(zip(new, (one.indices for one in found), strict=True))
        return [known[key] for key in keys]

    def _drawn(self, query: Example, near: Sequence[int], draw: int) -> list[Example]:
        rng = random.Random(f"{self.seed}/{self.first + draw}/{query.key or texts(query)}")
        count = max(1, int(len(near) // len(self.labels) * self.share))
        return [rng.choice(self._nearest(label, near)[:count]) for label in self.labels]

    def _nearest(self, label: str, near: Sequence[int]) -> list[Example]:
        found = [self.index.pool[at] for at in near if self.index.pool[at].target == label]
        if not found:
            raise DataError(
                f"label `{label}` has no example to show but the one that is asked about",
                hint="give two of each label, or show no demonstrations",
            )
        return found
