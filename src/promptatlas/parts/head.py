"""Heads: a linear classifier of states, and learned rows in place of the vocabulary's."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.lm.lm import LM
from promptatlas.lm.site import Site


class Head(nn.Module):
    """A linear classifier: weight [labels, hidden], bias [labels]. `score.soft.Classifier` reads states through it."""

    kind: ClassVar[str] = "head"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "head"

    def __init__(self, weight: Float[Tensor, "labels hidden"], bias: Float[Tensor, " labels"]) -> None:
        """A copy of both, to be trained."""
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone().float().cpu())
        self.bias = nn.Parameter(bias.detach().clone().float().cpu())

    def forward(self, states: Float[Tensor, "*rows hidden"]) -> Float[Tensor, "*rows labels"]:
        """Label logits of states."""
        return nn.functional.linear(states, self.weight.to(states.device), self.bias.to(states.device))

    def config(self) -> dict[str, Any]:
        """Nothing beside the tensors."""
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """Weight and bias."""
        return {"weight": self.weight.detach().cpu(), "bias": self.bias.detach().cpu()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Head":
        """The part again."""
        return cls(tensors["weight"], tensors["bias"])


def head(lm: LM, labels: int, *, seed: int, scale: float = 0.02, layers: int = 1) -> Head:
    """Normal random weights of deviation `scale`, zero biases; over `layers` layers' states side by side."""
    generator = torch.Generator().manual_seed(seed)
    return Head(torch.randn(labels, lm.hidden * layers, generator=generator) * scale, torch.zeros(labels))


class LabelVectors(nn.Module):
    """Learned rows for the output projection, one a label: weight [labels, head], bias [labels]."""

    kind: ClassVar[str] = "label_vectors"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "head"

    def __init__(self, weight: Float[Tensor, "labels head"], bias: Float[Tensor, " labels"]) -> None:
        """A copy of both, to be trained."""
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone().float().cpu())
        self.bias = nn.Parameter(bias.detach().clone().float().cpu())

    def config(self) -> dict[str, Any]:
        """Nothing beside the tensors."""
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """Weight and bias."""
        return {"weight": self.weight.detach().cpu(), "bias": self.bias.detach().cpu()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "LabelVectors":
        """The part again."""
        return cls(tensors["weight"], tensors["bias"])
