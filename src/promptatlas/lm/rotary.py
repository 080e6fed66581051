"""Keys of rotary models, as they would be further on: what such a model sees is how far apart positions are."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.lm.activations import activations
from promptatlas.lm.lm import LM

STEADY = ("default", "linear", "llama3", "yarn")  # angles that don't hang on how long the row is


def turned(
    lm: LM, keys: Float[Tensor, "layers heads length dim"], by: int
) -> Float[Tensor, "layers heads length dim"] | None:
    """Keys that a text `by` positions further on sees as the text at its own positions sees these.

    None where there are none: the model's positions aren't rotary, or its angles grow with the row. It is tried out on
    a token: alone, it has the same keys wherever it stands, but for the angle.
    """
    rotary: Any = getattr(getattr(lm, "body", None), "rotary_emb", None)
    if lm.kind != "causal" or getattr(rotary, "rope_type", None) not in STEADY:
        return None
    cos, sin = rotary(torch.zeros(1, device=lm.device), torch.tensor([[by]], device=lm.device))
    cos, sin = (one[0, 0].float().cpu() for one in (cos, sin))
    long = (cos.square() + sin.square()).sqrt()  # some families stretch all keys, by as much
    here, there = (_alone(lm, at) for at in (0, by))
    alike = torch.allclose(_turn(here[0], cos / long, sin / long), there[0], atol=1e-4)
    return _turn(keys, cos / long, sin / long) if alike and torch.allclose(here[1], there[1], atol=1e-4) else None


def _turn(keys: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The first entries in two halves, that are a point's two coordinates; what is behind them isn't turned."""
    some, rest = keys[..., : len(cos)], keys[..., len(cos) :]
    first, second = some.chunk(2, -1)
    return torch.cat([some * cos + torch.cat([-second, first], -1) * sin, rest], -1)


def _alone(lm: LM, at: int) -> tuple[Tensor, Tensor]:
    """Keys and values of one token that stands alone at a position: [layers, heads, 1, dim]."""
    layers = activations(lm, lm.tokens("a")[:1], shift=at)["self"]
    keys, values = (torch.stack([layer[side] for layer in layers]).float().cpu() for side in (0, 1))
    return keys, values
