"""Label words whose weights are trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.lm.ask import Query, Reading
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part
from promptatlas.score.words import Words
from promptatlas.text.template import Template


class SharesPart(Part, Protocol):
    """Weights within labels."""

    def shares(self, sizes: Sequence[int]) -> tuple[Float[Tensor, " words"], ...]:
        """Of each label's words."""


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """A label's score is the mean of its words' log-probabilities, weighed by a part of the prompt (arXiv:2108.02035).

    It is of use while the weights are trained: `settled` gives plain words that score the same.

    Attributes:
        words: no two of the same tokens.
        part: the weights' name among the prompt's parts.
    """

    words: Words
    part: str = "weigh"

    kind: ClassVar[str] = "weighed"
    version: ClassVar[int] = 1

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the scores."""
        return self.words.labels

    def word(self, label: str) -> str:
        """What a demonstration of this label shows: its first word."""
        return self.words.word(label)

    def queries(
        self,
        lm: LM,
        template: Template,
        example: Example,
        *,
        parts: Mapping[str, Part] | None = None,
        mass: bool = False,
    ) -> tuple[Query, ...]:
        """What is asked of every word, so that log-probabilities can be told."""
        return self._single.queries(lm, template, example, parts=parts, mass=True)

    def fold(
        self,
        readings: Sequence[Sequence[Reading]],
        lm: LM,
        template: Template,
        parts: Mapping[str, Part],
        *,
        mass: bool = False,
    ) -> Float[Tensor, "examples labels"]:
        """The weighed mean of each label's words, under the whole vocabulary."""
        scores = self._single.fold(readings, lm, template, parts, mass=True)
        shares = cast(SharesPart, parts[self.part]).shares(self._sizes)
        each = torch.split(scores, list(self._sizes), dim=1)
        return torch.stack([one @ share.to(one) for one, share in zip(each, shares, strict=True)], 1)

    def settled(self, parts: Mapping[str, Part]) -> Words:
        """Plain words with the weights there are now."""
        shares = cast(SharesPart, parts[self.part]).shares(self._sizes)
        weights = {label: tuple(one.tolist()) for label, one in zip(self.labels, shares, strict=True)}
        return replace(self.words, over_words="mean_logit", normaliser="vocabulary", weights=weights)

    def config(self) -> dict[str, Any]:
        """The words, and the part's name."""
        return {"words": self.words.config(), "part": self.part}

    def tensors(self) -> Mapping[str, Tensor]:
        """None: the weights are a part of the prompt."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Weighed":
        """The words again."""
        return cls(words=Words.build(config["words"], {}), part=config["part"])

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(map(len, self.words.words.values()))

    @cached_property
    def _single(self) -> Words:
        """Every word as a label of its own."""
        every = {word: (word,) for some in self.words.words.values() for word in some}
        return replace(self.words, words=every, weights=None)
