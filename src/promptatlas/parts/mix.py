"""A head that reads all layers at once, each by a learned weight."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.errors import CannotAttach
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Site


class Mix(nn.Module):
    """A linear classifier of γ · Σ softmax(w)_j · H_j, the states of all layers mixed.

    `score.soft.Classifier` reads states through it that lie side by side, layer after layer. Parameters: mix [layers],
    size [1] (γ), weight [labels, hidden], bias [labels].
    """

    kind: ClassVar[str] = "mix"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "head"

    def __init__(
        self, mix: Float[Tensor, " layers"], size: Float[Tensor, " one"], weight: Float[Tensor, "labels hidden"],
        bias: Float[Tensor, " labels"],
    ) -> None:  # fmt: skip
        """Copies, to be trained."""
        super().__init__()
        for name, one in {"mix": mix, "size": size, "weight": weight, "bias": bias}.items():
            self.register_parameter(name, nn.Parameter(one.detach().clone().float().cpu()))

    def mixed(self, states: Float[Tensor, "*rows wide"]) -> Float[Tensor, "*rows hidden"]:
        """The layers' states as one. Raises CannotAttach where there are not as many as there are weights."""
        hidden = self.get_parameter("weight").shape[1]
        mix, size = self.get_parameter("mix").to(states.device), self.get_parameter("size").to(states.device)
        if states.shape[-1] != len(mix) * hidden:
            raise CannotAttach(
                f"a mix of {len(mix)} layers {hidden} wide was given {states.shape[-1]} numbers",
                hint="it was trained on another model",
            )
        layers = states.reshape(*states.shape[:-1], len(mix), hidden)
        mixed: Tensor = size * (mix.softmax(-1)[:, None] * layers).sum(-2)
        return mixed

    def forward(self, states: Float[Tensor, "*rows wide"]) -> Float[Tensor, "*rows labels"]:
        """Label logits of all layers' states."""
        weight, bias = self.get_parameter("weight").to(states.device), self.get_parameter("bias").to(states.device)
        return nn.functional.linear(self.mixed(states), weight, bias)

    def config(self) -> dict[str, Any]:
        """Nothing beside the tensors."""
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """All four."""
        return {name: one.detach().cpu() for name, one in self.named_parameters()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Mix":
        """The part again."""
        return cls(*(tensors[name] for name in ("mix", "size", "weight", "bias")))


def mix(lm: LM, labels: int, *, seed: int, scale: float = 0.02) -> Mix:
    """All layers alike, γ = 1, and a head of normal random weights of deviation `scale`."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(labels, lm.hidden, generator=generator) * scale
    return Mix(torch.zeros(depth(lm) + 1), torch.ones(1), weight, torch.zeros(labels))


def depth(lm: LM) -> int:
    """Layers of the model (of the encoder, where there is one): as many as there is attention."""
    if "prefix" not in lm.can:
        return len(lm.places("attention.out"))
    places = lm.prefixes()
    return len(places["encoder" if lm.kind == "seq2seq" else "self"])
