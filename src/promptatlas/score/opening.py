"""Texts calibrated where they begin: the first token is chosen less what inputs without content begin with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import SettingError
from promptatlas.score.calibrate import Null
from promptatlas.text.template import Template

LEAST = 1e-6  # probabilities below are not kept: subtracting them changes nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class Opening:
    """A text's first token is the one most likelier than without content (Zhao et al. 2021, arXiv:2102.09690, sec. 5).

    Of an input's own likeliest tokens, both distributions are brought to sum to one over these, and subtracted: p - p0
    is highest at the first token. What follows is written as usual. Labels aren't touched.

    Attributes:
        ids: tokens with a prior, [kept].
        prior: their probabilities without content, [kept]; of the others it is 0.
        top: so many of an input's likeliest tokens are compared.
    """

    kind: ClassVar[str] = "opening"
    version: ClassVar[int] = 1
    proper: ClassVar[bool] = True

    ids: Int[Tensor, " kept"]
    prior: Float[Tensor, " kept"]
    top: int = 100

    def __post_init__(self) -> None:
        """Refuse a number of tokens that can't be compared."""
        if self.top < 1:
            raise SettingError(f"{self.top} tokens are compared", hint="compare 1 or more")

    @classmethod
    def fitted(cls, logp: Float[Tensor, "blanks vocab"], top: int = 100) -> "Opening":
        """The prior of the tokens' log-probabilities behind each input without content: the least of them, as released.

        An average would let one odd blank rule out a token that the others never begin with.
        """
        least = logp.double().exp().amin(0)
        (ids,) = torch.nonzero(least >= LEAST, as_tuple=True)
        return cls(ids=ids.cpu(), prior=least[ids].float().cpu(), top=top)

    def first(self, logp: Float[Tensor, "rows vocab"]) -> Int[Tensor, " rows"]:
        """The token each row begins with."""
        own = logp.double().cpu().exp().topk(min(self.top, logp.shape[-1]))  # [rows, top]
        prior = torch.zeros(logp.shape[-1], dtype=torch.double)
        prior[self.ids] = self.prior.double()
        without = prior[own.indices]
        without = without / without.sum(-1, keepdim=True).clamp(min=LEAST)
        gain = own.values / own.values.sum(-1, keepdim=True) - without
        return own.indices.gather(-1, gain.argmax(-1, keepdim=True))[:, 0]

    def nulls(self, example: Example, template: Template) -> tuple[Null, ...]:
        """None: what it needs is stored."""
        return ()

    def apply(
        self, mass: Float[Tensor, "examples labels"], null: Float[Tensor, "examples nulls labels"] | None
    ) -> Float[Tensor, "examples labels"]:
        """Labels as they are."""
        return mass

    def config(self) -> dict[str, Any]:
        """How many tokens are compared."""
        return {"top": self.top}

    def tensors(self) -> Mapping[str, Tensor]:
        """The prior."""
        return {"ids": self.ids, "prior": self.prior}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Opening":
        """The calibration again."""
        return cls(ids=tensors["ids"], prior=tensors["prior"], top=config["top"])
