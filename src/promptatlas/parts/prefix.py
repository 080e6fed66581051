"""A prefix: keys and values that every attention layer sees in front of its own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.errors import CannotAttach, SettingError, near
from promptatlas.lm.activations import activations
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Site

Positions = Literal["unshifted", "shifted"]


class Prefix(nn.Module):
    """Keys and values of `length` positions in every layer, at each place where attention happens.

    Places are "self", or "encoder", "decoder" and "cross" in a seq2seq model; the prefix of each is a parameter of its
    own, [layers, 2, heads, length, dim], keys before values. Where positions are "unshifted", text keeps its own; where
    they are "shifted", it stands `length` further on, as behind real tokens or a cache of keys (in a seq2seq model only
    what a decoder writes behind a prefix of "decoder" alone).
    """

    kind: ClassVar[str] = "prefix"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "attention"

    def __init__(
        self, places: Mapping[str, Float[Tensor, "layers two heads length dim"]], *, positions: str = "unshifted",
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        """A copy of each place's keys and values, to be trained; `dropout` is the share of them left out in training.

        Raises:
            SettingError: a dropout that isn't below 1, or other positions than there are.
        """
        super().__init__()
        self.positions, self.dropout = known_positions(positions), nn.Dropout(known_dropout(dropout))
        self.places = nn.ParameterDict(
            {place: nn.Parameter(one.detach().clone().float().cpu()) for place, one in places.items()}
        )
        self.eval()  # nothing is left out but where the training loop says so

    @property
    def length(self) -> int:
        """Positions of the prefix; they take of the window only where text is shifted."""
        return next(iter(self.places.values())).shape[3] if self.places else 0

    @property
    def shift(self) -> int:
        """How many positions further on the text stands; these are taken from the window."""
        return moved(self.length, self.positions, self.places)

    def prefix(self, lm: LM) -> Mapping[str, Sequence[tuple[Tensor, Tensor]]]:
        """(K, V) a layer, each [heads, length, dim], of each place. Raises CannotAttach where the model has others."""
        return layered(lm, {place: self.dropout(one) for place, one in self.places.items()})

    def flat(self) -> "Prefix":
        """The prefix alone, without what only its training needs."""
        return Prefix(self.tensors(), positions=self.positions)

    def config(self) -> dict[str, Any]:
        """Where text stands; and the dropout, while there is one."""
        return {"positions": self.positions, **({"dropout": self.dropout.p} if self.dropout.p else {})}

    def tensors(self) -> Mapping[str, Tensor]:
        """Keys and values by place."""
        return {place: one.detach().cpu() for place, one in self.places.items()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Prefix":
        """The part again."""
        positions = config.get("positions", "unshifted")
        return cls(tensors, positions=positions, dropout=config.get("dropout", 0.0))


def moved(length: int, positions: str, places: Iterable[str]) -> int:
    """How many positions further on text stands behind a prefix of these places; what an encoder reads never moves."""
    return length if positions == "shifted" and set(places) <= {"self", "decoder"} else 0


def known_positions(positions: str) -> str:
    """The same, if there is such a way of counting positions. Raises SettingError."""
    if positions in get_args(Positions):
        return positions
    raise SettingError(f"`positions` can't be `{positions}`", hint=near(positions, get_args(Positions)))


def known_dropout(dropout: float) -> float:
    """The same, if it can be. Raises SettingError."""
    if not 0 <= dropout < 1:
        raise SettingError(f"`dropout` is {dropout}", hint="it is from 0 up to, not including, 1")
    return dropout


def layered(lm: LM, places: Mapping[str, Tensor]) -> Mapping[str, Sequence[tuple[Tensor, Tensor]]]:
    """(K, V) a layer of each place's [layers, 2, heads, length, dim]. Raises CannotAttach where the model's differ."""
    shapes = lm.prefixes()
    for place, one in places.items():
        mine = ((one.shape[2], one.shape[4]),) * one.shape[0]
        if shapes.get(place) != mine:
            raise CannotAttach(
                f"a prefix of (heads, dim) {mine} by layer doesn't fit {lm.name}, "
                f"whose `{place}` attention has {shapes.get(place, 'none')}",
                hint="it was made for another model",
            )
    return {place: [(layer[0], layer[1]) for layer in one] for place, one in places.items()}


def normal(
    lm: LM, length: int, *, seed: int, scale: float = 1.0, places: Sequence[str] | None = None,
    positions: str = "unshifted", dropout: float = 0.0,
) -> Prefix:  # fmt: skip
    """Normal random keys and values. `places` picks among the model's (all where None).

    Raises:
        CannotAttach: a family without a way in for prefixes.
        SettingError: a length below 0, or that leaves shifted text no room, or a place the model doesn't have.
    """
    generator = torch.Generator().manual_seed(seed)
    made = {
        place: torch.randn(layers, 2, heads, length, dim, generator=generator) * scale
        for place, (layers, heads, dim) in sizes(lm, length, places).items()
    }
    return roomy(lm, Prefix(made, positions=positions, dropout=dropout))


def of_text(lm: LM, text: str, *, positions: str = "shifted") -> Prefix:
    """The keys and values the model computes for a text's pieces, in its order.

    In a causal model, what follows such a prefix, shifted, is read as if it followed the text (Li & Liang 2021,
    arXiv:2101.00190, starts a prefix so).

    Raises:
        CannotAttach: a family without a way in for prefixes.
        SettingError: a text without pieces, or one that leaves no room.
    """
    ids = lm.tokens(text)
    if not ids:
        raise SettingError(f"the text `{text}` has no tokens in {lm.name} to start from", hint="give it some words")
    return of_tokens(lm, ids, positions=positions)


def of_tokens(lm: LM, ids: Sequence[int], *, positions: str = "shifted") -> Prefix:
    """As `of_text`, of these tokens."""
    found = activations(lm, ids)
    sizes(lm, len(ids), None)
    made = {place: torch.stack([torch.stack(layer) for layer in layers]) for place, layers in found.items()}
    return roomy(lm, Prefix(made, positions=positions))


def roomy(lm: LM, part: Prefix) -> Prefix:
    """The part, if it leaves room for text. Raises SettingError."""
    if part.shift >= lm.window:
        raise SettingError(
            f"a prefix of {part.length} leaves no room for text in a window of {lm.window}",
            hint=f"use a length from 0 to {lm.window - 1}",
        )
    return part


def sizes(lm: LM, length: int, places: Sequence[str] | None) -> Mapping[str, tuple[int, int, int]]:
    """(layers, heads, dim) of the model's attention, by place; see `normal`."""
    shapes = lm.prefixes()
    if length < 0:
        raise SettingError(f"a prefix can't have {length} positions", hint="use a length from 0 up")
    unknown = [place for place in places or () if place not in shapes]
    if unknown:
        raise SettingError(
            f"this model has no attention called `{unknown[0]}`",
            hint="it has " + ", ".join(f"`{one}`" for one in shapes),
        )
    for layers in shapes.values():
        if len(set(layers)) > 1:
            raise CannotAttach(
                f"the layers of {lm.name} have keys of different shapes: {layers}",
                hint="use vectors at the input instead",
            )
    return {place: (len(layers), *layers[0]) for place, layers in shapes.items() if places is None or place in places}
