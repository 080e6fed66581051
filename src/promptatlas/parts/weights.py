"""Other weights for the model: named values (all, the biases, the norms), and low-rank differences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from promptatlas.errors import CannotAttach, NeedsError, SettingError
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part, Site


class Values(nn.Module):
    """Other values for named parameters of the model: all of them (full tuning), its biases, its norms."""

    kind: ClassVar[str] = "values"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "weights"

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        """A copy of each, to be trained."""
        super().__init__()
        self.names = tuple(values)
        self.values = nn.ParameterList([nn.Parameter(one.detach().clone().float().cpu()) for one in values.values()])

    def overrides(self, lm: LM) -> Mapping[str, Tensor]:
        """Parameter name -> value, in the model's dtype."""
        unknown = [name for name in self.names if name not in lm.parameters]
        if unknown:
            raise CannotAttach(
                f"{lm.name} has no parameter `{unknown[0]}`", hint="these weights were trained on another model"
            )
        for name, one in zip(self.names, self.values, strict=True):
            if one.shape != lm.parameters[name].shape:
                raise CannotAttach(
                    f"`{name}` is {tuple(one.shape)} here and {tuple(lm.parameters[name].shape)} in {lm.name}",
                    hint="these weights were trained on another model",
                )
        return {name: one.to(lm.parameters[name].dtype) for name, one in zip(self.names, self.values, strict=True)}

    def config(self) -> dict[str, Any]:
        """The names, in order."""
        return {"names": list(self.names)}

    def tensors(self) -> Mapping[str, Tensor]:
        """The values by name."""
        return {name: one.detach().cpu() for name, one in zip(self.names, self.values, strict=True)}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Values":
        """The part again."""
        return cls({name: tensors[name] for name in config["names"]})


def full(lm: LM) -> Values:
    """Every parameter of the model."""
    return Values(lm.parameters)


def biases(lm: LM, places: Sequence[str] = ()) -> Values:
    """Every bias of the model, that of its head included; tied ones are one.

    Args:
        lm: the model.
        places: projections ("query", "up", …) whose biases alone are wanted, a fused one's as a whole; all where none.

    Raises:
        NeedsError: a model without any (T5, Llama), or none but its output head's (ModernBERT).
        CannotAttach: a place the model doesn't have.
    """
    found = {name: one for name, one in lm.parameters.items() if name.rsplit(".", 1)[-1] == "bias"}
    if places:
        wanted = {_bias(spot.name) for place in places for spot in lm.places(place)}
        found = {name: one for name, one in found.items() if name in wanted}
    if all(len(one) == len(lm.vectors) for one in found.values()):  # a bias over the vocabulary hears no input
        where = " at " + ", ".join(f"`{place}`" for place in places) if places else ""
        but = " but its output head's" if found else ""
        raise NeedsError(
            f"{lm.name} has no biases{where}{but}: there is nothing to train",
            hint="train its norms, or use LoRA, a prefix or vectors instead",
        )
    return Values(found)


def norms(lm: LM) -> Values:
    """Gains and biases of every normalisation, those of the embeddings and the head included.

    They are told by their gains: no other weights are of one axis.
    """
    gains = [name for name, one in lm.parameters.items() if name.endswith(".weight") and one.dim() == 1]
    names = [name for gain in gains for name in (gain, _bias(gain))]
    return Values({name: lm.parameters[name] for name in names if name in lm.parameters})


def onto(fresh: Values, there: Part | None) -> Values:
    """Fresh values, with those of a part that is there already in their place: where training starts."""
    return Values({**fresh.tensors(), **({} if there is None else there.tensors())})


def changed(part: Part, lm: LM) -> Values:
    """What of named values isn't the model's own: the rest need not be stored. `part` is a `Values`."""
    mine = part.tensors()
    moved = {name: one for name, one in mine.items() if not torch.equal(one, lm.parameters[name].float().cpu())}
    return Values(moved).eval()


def _bias(weight: str) -> str:
    """The name of the bias beside a weight."""
    return weight.removesuffix("weight") + "bias"


class LoRA(nn.Module):
    """Low-rank differences: W + scale · B A for chosen projections.

    A [rank, inputs] is random, B [outputs, rank] zero at first.
    """

    kind: ClassVar[str] = "lora"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "weights"

    def __init__(self, places: Sequence[str], scale: float, down: Iterable[Tensor], up: Iterable[Tensor]) -> None:
        """Differences of every projection called one of `places`, in the model's order."""
        super().__init__()
        self.where, self.scale = tuple(places), scale
        self.down = nn.ParameterList([nn.Parameter(one.detach().clone().float().cpu()) for one in down])
        self.up = nn.ParameterList([nn.Parameter(one.detach().clone().float().cpu()) for one in up])

    def overrides(self, lm: LM) -> Mapping[str, Tensor]:
        """The projections with their differences added, each in its share where the model fuses several."""
        found: dict[str, Tensor] = {}
        spots = [spot for place in self.where for spot in lm.places(place)]
        if len(spots) != len(self.down):
            raise CannotAttach(
                f"{len(self.down)} differences for {len(spots)} projections of {lm.name}",
                hint="they belong to another model",
            )
        for spot, down, up in zip(spots, self.down, self.up, strict=True):
            mine, theirs = (len(up), down.shape[1]), (spot.outputs, spot.inputs)
            if mine != theirs:
                raise CannotAttach(
                    f"a difference for `{spot.name}` is {mine[0]} × {mine[1]}, and {lm.name} has it {theirs[0]} × "
                    f"{theirs[1]}",
                    hint="they belong to another model",
                )
            base = found.get(spot.name, lm.parameters[spot.name])
            change = self.scale * (up @ down)  # [outputs, inputs]
            whole = base.shape[1 if spot.transposed else 0]
            change = nn.functional.pad(change, (0, 0, spot.start, whole - spot.start - spot.outputs))
            found[spot.name] = base + (change.T if spot.transposed else change).to(base)
        return found

    def config(self) -> dict[str, Any]:
        """Places and scale."""
        return {"places": list(self.where), "scale": self.scale}

    def tensors(self) -> Mapping[str, Tensor]:
        """Both factors of each difference, by its number."""
        pairs = zip(self.down, self.up, strict=True)
        return {
            f"{i}.{side}": one.detach().cpu()
            for i, pair in enumerate(pairs)
            for side, one in zip(("down", "up"), pair, strict=True)
        }

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "LoRA":
        """The part again."""
        count = len(tensors) // 2
        down, up = ([tensors[f"{i}.{side}"] for i in range(count)] for side in ("down", "up"))
        return cls(config["places"], config["scale"], down, up)


def lora(
    lm: LM, *, rank: int = 8, scale: float = 1.0, places: Sequence[str] = ("query", "value"), seed: int = 0
) -> LoRA:
    """Differences of rank `rank` for the projections called `places`.

    Raises:
        SettingError: a rank below 1, or no place.
        CannotAttach: a place the model doesn't have.
    """
    if rank < 1:
        raise SettingError(f"a difference can't have the rank {rank}", hint="use a rank from 1 up")
    if not places:
        raise SettingError("no projection is named", hint='`places=("query", "value")`')
    generator = torch.Generator().manual_seed(seed)
    spots = [spot for place in places for spot in lm.places(place)]
    down = [torch.randn(rank, spot.inputs, generator=generator) / spot.inputs**0.5 for spot in spots]
    return LoRA(places, scale, down, [torch.zeros(spot.outputs, rank) for spot in spots])
