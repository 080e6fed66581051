"""Perturbations: what is added to the states of vectors, at the input of the layers and behind each of them."""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.errors import CannotAttach
from promptatlas.lm.doors import FLIGHT
from promptatlas.lm.lm import LM
from promptatlas.lm.places import Place
from promptatlas.lm.site import Site


class Perturbation(nn.Module):
    """Added where a row has parts' vectors, to the states of the first of them, the second, …: nowhere else.

    `inputs` [positions, width] is added to what enters the first layer, behind the embeddings' own norm; `layers`
    [layers, positions, hidden] to what each layer hands on, from the first up. Where layers share their weights
    (ALBERT), they share a perturbation.
    """

    kind: ClassVar[str] = "perturbation"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "activations"

    def __init__(
        self,
        inputs: Float[Tensor, "positions width"],
        layers: Float[Tensor, "layers positions hidden"],
        pull: float = 0.0,
    ) -> None:
        """A copy of both, to be trained; `pull` times their squared length is added to the loss."""
        super().__init__()
        self.inputs = nn.Parameter(inputs.detach().clone().float().cpu())
        self.layers = nn.Parameter(layers.detach().clone().float().cpu())
        self.pull = pull

    def after(self, lm: LM) -> Mapping[Place, Callable[[Tensor], Tensor]]:
        """What is added behind the embeddings and behind each layer. Raises CannotAttach for another model's."""
        first, behind = modules(lm)
        if self.inputs.shape[1] != lm.width or len(self.layers) > len(behind) or self.layers.shape[2] != lm.hidden:
            shapes = f"{tuple(self.inputs.shape)} and {tuple(self.layers.shape)}"
            raise CannotAttach(
                f"a perturbation of shapes {shapes} doesn't fit {lm.name}, which has {len(behind)} layers, "
                f"{lm.width} and {lm.hidden} wide",
                hint="it was learned on another model",
            )
        places = {Place("embeddings", 0, first): _adding(self.inputs)}
        layers = zip(behind, self.layers, strict=False)
        return places | {Place("layer", at, name): _adding(one) for at, (name, one) in enumerate(layers)}

    def penalty(self) -> Float[Tensor, ""]:
        """`pull` times the squared length of all that is added."""
        return self.pull * (self.inputs.square().sum() + self.layers.square().sum())

    def config(self) -> dict[str, Any]:
        """The pull."""
        return {"pull": self.pull}

    def tensors(self) -> Mapping[str, Tensor]:
        """What is added."""
        return {"inputs": self.inputs.detach().cpu(), "layers": self.layers.detach().cpu()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Perturbation":
        """The part again."""
        return cls(tensors["inputs"], tensors["layers"], config["pull"])


def still(lm: LM, positions: int, *, layers: int | None = None, pull: float = 0.0) -> Perturbation:
    """A perturbation that adds nothing yet, at the input and behind the first `layers` layers (None: all).

    Raises:
        CannotAttach: a family whose embeddings or layers aren't known.
    """
    count = len(modules(lm)[1]) if layers is None else min(layers, len(modules(lm)[1]))
    return Perturbation(torch.zeros(positions, lm.width), torch.zeros(count, positions, lm.hidden), pull)


def modules(lm: LM) -> tuple[str, list[str]]:
    """Names of the module whose output enters the first layer, and of the layers in order."""
    found = (
        re.match(r"(.*?embeddings)\.", name) for name, one in lm.parameters.items() if one.shape == lm.vectors.shape
    )
    first = next((match[1] for match in found if match), None)
    matches = (re.match(r"(.*?\.\d+)\.", spot.name) for spot in lm.places("attention.out"))
    layers = list(dict.fromkeys(match[1] for match in matches if match))
    if first is None or not layers:
        raise CannotAttach(
            f"the embeddings of {lm.name} are no module of their own, so nothing can be added behind them",
            hint="train vectors alone (`prompt_tuning`), or take an encoder of BERT's kin",
        )
    return first, layers


def _adding(change: Float[Tensor, "positions width"]) -> Callable[[Tensor], Tensor]:
    def added(states: Tensor) -> Tensor:
        flight = FLIGHT.get()
        if flight is None or flight.splice is None:
            return states
        where = flight.splice.where  # [rows, length], or all rows behind each other in one
        # rows of one prompt all have as many vectors, so that counting through all rows counts in each
        at = (where.flatten().cumsum(0) - 1).clamp(min=0) % len(change)
        return states + torch.where(where[..., None], change.to(states)[at.view_as(where)], 0.0)

    return added
