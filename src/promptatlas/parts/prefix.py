"""A prefix: keys and values that every attention layer sees in front of its own."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.errors import CannotAttach, SettingError
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Site


class Prefix(nn.Module):
    """Keys and values of `length` positions in every layer, at each place where attention happens.

    Places are "self", or "encoder", "decoder" and "cross" in a seq2seq model; the prefix of each is a parameter of its
    own, [layers, 2, heads, length, dim], keys before values. Text keeps its positions, unless the prefix is `shifted`:
    then text stands behind it, `length` positions on, as behind a cache of keys (other tools' prefixes are so).
    """

    kind: ClassVar[str] = "prefix"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "attention"

    def __init__(
        self, places: Mapping[str, Float[Tensor, "layers two heads length dim"]], *, shifted: bool = False
    ) -> None:
        """A copy of each place's keys and values, to be trained.

        Raises:
            SettingError: a shifted one of attention that has no positions of its own to shift.
        """
        super().__init__()
        if shifted and set(places) - {"self", "decoder"}:
            raise SettingError(
                f"a prefix of {', '.join(f'`{one}`' for one in places)} can't shift positions",
                hint="only one of `self` or `decoder` alone can",
            )
        self.shifted = shifted
        self.places = nn.ParameterDict(
            {place: nn.Parameter(one.detach().clone().float().cpu()) for place, one in places.items()}
        )

    @property
    def length(self) -> int:
        """Positions of the prefix; they take none of the window, unless they shift the text."""
        return next(iter(self.places.values())).shape[3] if self.places else 0

    @property
    def shift(self) -> int:
        """Positions that text is moved by; these are taken from the window."""
        return self.length if self.shifted else 0

    def prefix(self, lm: LM) -> Mapping[str, Sequence[tuple[Tensor, Tensor]]]:
        """(K, V) a layer, each [heads, length, dim], of each place. Raises CannotAttach where the model has others."""
        shapes = lm.prefixes()
        for place, one in self.places.items():
            mine = ((one.shape[2], one.shape[4]),) * one.shape[0]
            if shapes.get(place) != mine:
                raise CannotAttach(
                    f"a prefix of (heads, dim) {mine} by layer doesn't fit {lm.name}, "
                    f"whose `{place}` attention has {shapes.get(place, 'none')}",
                    hint="it was made for another model",
                )
        return {place: [(layer[0], layer[1]) for layer in one] for place, one in self.places.items()}

    def config(self) -> dict[str, Any]:
        """Whether text keeps its positions."""
        return {"positions": "shifted" if self.shifted else "unshifted"}

    def tensors(self) -> Mapping[str, Tensor]:
        """Keys and values by place."""
        return {place: one.detach().cpu() for place, one in self.places.items()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Prefix":
        """The part again."""
        return cls(tensors, shifted=config.get("positions") == "shifted")


def normal(
    lm: LM, length: int, *, seed: int, scale: float = 1.0, places: Sequence[str] | None = None, shifted: bool = False
) -> Prefix:
    """Normal random keys and values. `places` picks among the model's (all where None).

    Raises:
        CannotAttach: a family without a way in for prefixes.
        SettingError: a length below 0 or a place the model doesn't have.
    """
    shapes = lm.prefixes()
    if length < 0:
        raise SettingError(f"a prefix can't have {length} positions", hint="use a length from 0 up")
    unknown = [place for place in places or () if place not in shapes]
    if unknown:
        raise SettingError(
            f"this model has no attention called `{unknown[0]}`",
            hint="it has " + ", ".join(f"`{one}`" for one in shapes),
        )
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for place, layers in shapes.items():
        if len(set(layers)) > 1:
            raise CannotAttach(
                f"the layers of {lm.name} have keys of different shapes: {layers}",
                hint="use vectors at the input instead",
            )
        if places is None or place in places:
            heads, dim = layers[0]
            made[place] = torch.randn(len(layers), 2, heads, length, dim, generator=generator) * scale
    return Prefix(made, shifted=shifted)
