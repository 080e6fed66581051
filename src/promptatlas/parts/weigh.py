"""Learned weights of label words."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.lm.site import Site


class Weigh(nn.Module):
    """A number a label word; within a label they count by softmax, so zeros weigh all alike.

    It is of use while it is trained, and is not saved with a prompt: `shares` become the weights of plain words.
    """

    kind: ClassVar[str] = "weigh"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "head"

    def __init__(self, weight: Float[Tensor, " words"]) -> None:
        """A copy, to be trained: the words of a label stand together."""
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone().float().cpu())

    def shares(self, sizes: Sequence[int]) -> tuple[Float[Tensor, " words"], ...]:
        """The weights of each label's words, which sum to one; `sizes` are how many it has."""
        return tuple(one.softmax(0) for one in torch.split(self.weight, list(sizes)))

    def config(self) -> dict[str, Any]:
        """Nothing beside the tensor."""
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """The weight."""
        return {"weight": self.weight.detach().cpu()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Weigh":
        """The part again."""
        return cls(tensors["weight"])


def weigh(words: int) -> Weigh:
    """All alike."""
    return Weigh(torch.zeros(words))
