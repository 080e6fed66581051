"""Scaling vectors inside the model: (IA)³."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from promptatlas.errors import CannotAttach, SettingError
from promptatlas.lm.lm import LM
from promptatlas.lm.places import Spot
from promptatlas.lm.site import Site


class Scale(nn.Module):
    """A factor for each value that leaves, or enters, chosen projections.

    It changes weights: a factor of an output is one of a row of the weight and of its bias, a factor of an input one of
    a column. So what a factor stands at may lie behind a nonlinearity, in front of the projection that follows it.
    """

    kind: ClassVar[str] = "scale"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "weights"

    def __init__(self, outputs: Sequence[str], inputs: Sequence[str], factors: Iterable[Tensor]) -> None:
        """Factors of all projections called one of `outputs`, then of `inputs`, each name's in the model's order."""
        super().__init__()
        self.outputs, self.inputs = tuple(outputs), tuple(inputs)
        self.factors = nn.ParameterList([nn.Parameter(one.detach().clone().float().cpu()) for one in factors])

    def overrides(self, lm: LM) -> Mapping[str, Tensor]:
        """The projections' weights and biases, scaled, each in its share where the model fuses several."""
        places = [*_places(lm, self.outputs, self.inputs)]
        sizes = [_size(spot, into) for spot, into in places]
        if sizes != [len(one) for one in self.factors]:
            raise CannotAttach(
                f"factors for {len(self.factors)} projections don't fit the {len(places)} of {lm.name}",
                hint="they were learned on another model",
            )
        found: dict[str, Tensor] = {}
        for (spot, into), factor in zip(places, self.factors, strict=True):
            weight = found.get(spot.name, lm.parameters[spot.name])
            if into:
                column = factor[:, None] if spot.transposed else factor
                found[spot.name] = weight * column.to(weight)
                continue
            whole = _whole(factor, spot, weight.shape[1 if spot.transposed else 0])
            found[spot.name] = weight * (whole if spot.transposed else whole[:, None]).to(weight)
            name = spot.name.removesuffix("weight") + "bias"
            if name in lm.parameters:
                bias = found.get(name, lm.parameters[name])
                found[name] = bias * whole.to(bias)
        return found

    def config(self) -> dict[str, Any]:
        """The places."""
        return {"outputs": list(self.outputs), "inputs": list(self.inputs)}

    def tensors(self) -> Mapping[str, Tensor]:
        """The factors, by their number."""
        return {str(i): one.detach().cpu() for i, one in enumerate(self.factors)}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Scale":
        """The part again."""
        return cls(config["outputs"], config["inputs"], [tensors[str(i)] for i in range(len(tensors))])


def scale(lm: LM, *, outputs: Sequence[str] = ("key", "value"), inputs: Sequence[str] = ("down",)) -> Scale:
    """Ones for the outputs and inputs of the projections called so: at first nothing changes.

    Raises:
        SettingError: no place at all.
        CannotAttach: a place the model doesn't have.
    """
    if not (*outputs, *inputs):
        raise SettingError("no projection is named", hint='`outputs=("key", "value"), inputs=("down",)`')
    return Scale(outputs, inputs, [torch.ones(_size(*place)) for place in _places(lm, outputs, inputs)])


def _places(lm: LM, outputs: Sequence[str], inputs: Sequence[str]) -> Iterator[tuple[Spot, bool]]:
    """Every projection, and whether it is what goes in that is scaled."""
    for names, into in ((outputs, False), (inputs, True)):
        yield from ((spot, into) for name in names for spot in lm.places(name))


def _size(spot: Spot, into: bool) -> int:
    return spot.inputs if into else spot.outputs


def _whole(factor: Tensor, spot: Spot, width: int) -> Tensor:
    """[width]: the factors at their share of a fused projection, ones beside them."""
    return nn.functional.pad(factor, (spot.start, width - spot.start - spot.outputs), value=1.0)
