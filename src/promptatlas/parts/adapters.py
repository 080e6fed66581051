"""Adapters: narrow networks beside the identity, behind a model's sub-layers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal
from warnings import warn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.errors import CannotAttach, SettingError, near
from promptatlas.lm.blocks import BLOCK
from promptatlas.lm.lm import LM
from promptatlas.lm.places import Place
from promptatlas.lm.site import Site

Act = Callable[[Tensor], Tensor]
ACTIVATIONS: Mapping[str, Act] = {
    "gelu": nn.functional.gelu,
    "gelu_tanh": partial(nn.functional.gelu, approximate="tanh"),
    "relu": torch.relu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}
TENSORS = ("down", "down_bias", "up", "up_bias")


class Adapters(nn.Module):
    """At each place s + W2 · g(W1 · s + b1) + b2 takes the place of s.

    Places are projections by name ("attention.out", "down": what they put out, before the outer residual is added), or
    "layer", what a whole layer hands on. A module that several layers share has an adapter for each of them.
    """

    kind: ClassVar[str] = "adapters"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "activations"

    def __init__(self, places: Sequence[str], activation: str, tensors: Sequence[Sequence[Tensor]]) -> None:
        """Copies, to be trained.

        Args:
            places: where, in the order of the tensors.
            activation: g, one of `ACTIVATIONS`.
            tensors: of each adapter W1 [width, hidden], b1 [width], W2 [hidden, width], b2 [hidden].
        """
        super().__init__()
        if activation not in ACTIVATIONS:
            raise SettingError(f"there is no activation `{activation}`", hint=near(activation, ACTIVATIONS))
        self.where, self.activation = tuple(places), activation
        self.adapters = nn.ModuleList([_adapter(one) for one in tensors])

    def after(self, lm: LM) -> Mapping[Place, Act]:
        """What is done to the output of each module."""
        spots = stands(lm, self.where)
        if len(self.adapters) != sum(one.turns for one in spots):
            raise CannotAttach(
                f"{len(self.adapters)} adapters don't fit the {sum(one.turns for one in spots)} places of {lm.name}",
                hint="they were trained on another model",
            )
        found: dict[Place, Act] = {}
        rest = list(self.adapters)
        for one in spots:
            mine, rest = rest[: one.turns], rest[one.turns :]
            acts = [partial(self.adapted, adapter) for adapter in mine]
            found[one.place] = acts[0] if len(acts) == 1 else _Turns(acts)
        return found

    def adapted(self, adapter: nn.Module, out: Float[Tensor, "*rows hidden"]) -> Float[Tensor, "*rows hidden"]:
        """The output of a module through an adapter, worked out in float32."""
        down, down_bias, up, up_bias = (adapter.get_parameter(name).to(out.device) for name in TENSORS)
        if out.shape[-1] != up.shape[0]:
            raise CannotAttach(
                f"an adapter of states {up.shape[0]} wide stands at a place {out.shape[-1]} wide",
                hint="it was trained on another model",
            )
        states = out.float()
        inner = ACTIVATIONS[self.activation](nn.functional.linear(states, down, down_bias))
        return (states + nn.functional.linear(inner, up, up_bias)).to(out.dtype)

    def config(self) -> dict[str, Any]:
        """Places and activation."""
        return {"places": list(self.where), "activation": self.activation}

    def tensors(self) -> Mapping[str, Tensor]:
        """Four an adapter, by its number."""
        return {
            f"{i}.{name}": one.get_parameter(name).detach().cpu()
            for i, one in enumerate(self.adapters)
            for name in TENSORS
        }

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Adapters":
        """The part again."""
        count = len(tensors) // len(TENSORS)
        each = [[tensors[f"{i}.{name}"] for name in TENSORS] for i in range(count)]
        return cls(config["places"], config["activation"], each)


@dataclass(frozen=True)
class Stand:
    """A module with adapters behind it.

    Attributes:
        place: the module.
        hidden: how wide what it puts out is.
        turns: how often a pass comes by: more than once where layers share it.
    """

    place: Place
    hidden: int
    turns: int


@dataclass(eq=False)
class _Turns:
    """One function after the other, over and over: what a module that layers share does in each of them."""

    acts: Sequence[Act]
    at: int = field(default=0)

    def __call__(self, out: Tensor) -> Tensor:
        self.at += 1
        return self.acts[(self.at - 1) % len(self.acts)](out)


def stands(lm: LM, places: Sequence[str]) -> list[Stand]:
    """Modules of these places. Raises CannotAttach for a place there is not, or layers that can't be told."""
    found = []
    for what in places:
        spots = lm.places("down" if what == "layer" else what)
        modules = {spot.name.rsplit(".", 1)[0]: spot.outputs for spot in spots}
        if what == "layer":
            layers = {name: BLOCK.match(name) for name in modules}
            if not all(layers.values()):
                raise CannotAttach(f"the layers of {lm.name} can't be told", hint='use "attention.out" and "down"')
            modules = {layer[1]: modules[name] for name, layer in layers.items() if layer}
        turns = _turns(lm, len(modules))
        found += [
            Stand(Place(what, layer, module), width, turns) for layer, (module, width) in enumerate(modules.items())
        ]
    return found


def adapters(
    lm: LM, *, width: int, seed: int, places: Sequence[str] = ("attention.out", "down"), scale: float = 1e-3,
    start: Literal["normal", "zero"] = "normal", activation: str = "gelu_tanh",
) -> Adapters:  # fmt: skip
    """Adapters that change next to nothing at first: weights of deviation `scale`, cut at twice that, biases zero.

    Args:
        lm: the model.
        width: of the bottleneck.
        seed: of the weights.
        places: see `Adapters`.
        scale: deviation of the weights.
        start: "zero": W2 is zero, and nothing at all is changed.
        activation: one of `ACTIVATIONS`.

    Raises:
        SettingError: a width below 1, no place, an unknown activation.
        CannotAttach: a place the model doesn't have.
    """
    if width < 1:
        raise SettingError(f"an adapter can't be {width} wide", hint="use a width from 1 up")
    if not places:
        raise SettingError("no place is named", hint='`places=("attention.out", "down")`')
    found = [one for one in stands(lm, places) for _ in range(one.turns)]
    if width >= min(one.hidden for one in found):
        warn(f"adapters {width} wide are no bottleneck: the states are {found[0].hidden} wide", stacklevel=2)
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        weight = torch.empty(*shape)
        return nn.init.trunc_normal_(weight, std=scale, a=-2 * scale, b=2 * scale, generator=generator)

    made = []
    for one in found:
        down, up = drawn(width, one.hidden), drawn(one.hidden, width)
        made.append((down, torch.zeros(width), up * (start == "normal"), torch.zeros(one.hidden)))
    return Adapters(places, activation, made)


def _turns(lm: LM, modules: int) -> int:
    """How many layers share a module: as many more attention happens than there are modules."""
    if lm.kind == "seq2seq" or "prefix" not in lm.can:
        return 1
    return max(1, len(lm.prefixes()["self"]) // modules)


def _adapter(tensors: Sequence[Tensor]) -> nn.Module:
    module = nn.Module()
    for name, one in zip(TENSORS, tensors, strict=True):
        module.register_parameter(name, nn.Parameter(one.detach().clone().float().cpu()))
    return module
