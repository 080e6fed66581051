"""Parts that only tests need."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.lm.site import Site


class Gated(nn.Module):
    """Vectors under a gate that is drawn anew each step, with dropout, and a price for being long."""

    kind: ClassVar[str] = "gated"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "inputs"
    ids: ClassVar[None] = None

    def __init__(self, weight: Tensor, price: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.register_buffer("gate", torch.ones(len(weight), 1))
        self.drop = nn.Dropout(0.3)
        self.price = price
        self.begun: list[int] = []

    @property
    def length(self) -> int:
        return len(self.weight)

    def begin(self, step: int, generator: torch.Generator) -> None:
        self.begun.append(step)
        self.gate = (torch.rand(len(self.weight), 1, generator=generator) > 0.2).float()

    def penalty(self) -> Tensor:
        return self.price * self.weight.square().sum()

    def vectors(self, lm: LM, rows: Sequence[Row]) -> Tensor:
        return self.drop(self.weight) * self.gate

    def config(self) -> dict[str, Any]:
        return {"price": self.price}

    def tensors(self) -> Mapping[str, Tensor]:
        return {"weight": self.weight.detach(), "gate": self.gate}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Gated":
        built = cls(tensors["weight"], config["price"])
        built.gate = tensors["gate"].clone()
        return built
