"""Differences from a model's parameters: behind gates while they are chosen, and as the few that were."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar
from warnings import warn

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from promptatlas.errors import CannotAttach, SettingError
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part, Site
from promptatlas.parts.gates import Gates

LONG = 2**31  # entries from which on their numbers take eight bytes


class Diff(nn.Module):
    """A difference for every parameter, each entry times its gate: θ = θ0 + z · w."""

    kind: ClassVar[str] = "diff"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "weights"

    def __init__(self, differences: Mapping[str, Tensor], gates: Gates) -> None:
        """A copy of the differences w, to be trained; the gates are shared, not copied."""
        super().__init__()
        self.names = tuple(differences)
        self.weights = nn.ParameterList(
            [nn.Parameter(one.detach().clone().float().cpu()) for one in differences.values()]
        )
        self.gates = gates

    def differences(self) -> dict[str, Tensor]:
        """What is added to each parameter, z · w."""
        gates = self.gates.gates()
        return {name: gate * one for name, gate, one in zip(self.names, gates, self.weights, strict=True)}

    def overrides(self, lm: LM) -> Mapping[str, Tensor]:
        """Parameters with their differences, added in float32."""
        found = {}
        for name, change in self.differences().items():
            base = lm.parameters.get(name)
            if base is None or base.shape != change.shape:
                raise CannotAttach(
                    f"a difference for `{name}` doesn't fit {lm.name}", hint="it belongs to another model"
                )
            found[name] = (base.float() + change.to(base.device)).to(base.dtype)
        return found

    def config(self) -> dict[str, Any]:
        """Names, and what the gates are."""
        return {"names": list(self.names), "gates": self.gates.config()}

    def tensors(self) -> Mapping[str, Tensor]:
        """Differences by name, and the gates' own."""
        mine = {f"weight/{name}": one.detach().cpu() for name, one in zip(self.names, self.weights, strict=True)}
        return {**mine, **{f"gates/{name}": one for name, one in self.gates.tensors().items()}}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Diff":
        """The part again, with gates of its own."""
        under = {name.removeprefix("gates/"): one for name, one in tensors.items() if name.startswith("gates/")}
        gates = Gates.build(config["gates"], under)
        return cls({name: tensors[f"weight/{name}"] for name in config["names"]}, gates)


class Sparse(nn.Module):
    """Differences of few entries, stored as their numbers and values: a parameter's entries are numbered row by row."""

    kind: ClassVar[str] = "sparse"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "weights"

    def __init__(
        self, index: Mapping[str, Int[Tensor, " entries"]], values: Mapping[str, Float[Tensor, " entries"]]
    ) -> None:
        """Copies; values are to be trained, numbers stay."""
        super().__init__()
        self.names = tuple(index)
        self.values = nn.ParameterList([nn.Parameter(values[name].detach().clone().float().cpu()) for name in index])
        for at, one in enumerate(index.values()):
            self.register_buffer(f"index_{at}", one.detach().clone().cpu())

    @property
    def count(self) -> int:
        """Entries that differ."""
        return sum(one.numel() for one in self.values)

    def overrides(self, lm: LM) -> Mapping[str, Tensor]:
        """Parameters with their differences, added in float32."""
        found = {}
        for at, (name, values) in enumerate(zip(self.names, self.values, strict=True)):
            base, index = lm.parameters.get(name), self.get_buffer(f"index_{at}")
            if base is None or (len(index) and int(index.max()) >= base.numel()):
                raise CannotAttach(
                    f"a difference for `{name}` doesn't fit {lm.name}", hint="it belongs to another model"
                )
            flat = base.detach().float().flatten()
            changed = flat.index_add(0, index.to(flat.device, torch.long), values.to(flat.device))
            found[name] = changed.view_as(base).to(base.dtype)
        return found

    def config(self) -> dict[str, Any]:
        """The names, in order."""
        return {"names": list(self.names)}

    def tensors(self) -> Mapping[str, Tensor]:
        """Numbers and values of each parameter's entries."""
        index = {f"index/{name}": self.get_buffer(f"index_{at}").cpu() for at, name in enumerate(self.names)}
        return {
            **index,
            **{f"values/{name}": one.detach().cpu() for name, one in zip(self.names, self.values, strict=True)},
        }

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Sparse":
        """The part again."""
        index, values = ({name: tensors[f"{what}/{name}"] for name in config["names"]} for what in ("index", "values"))
        return cls(index, values)


def gated(lm: LM, gates: Gates | None = None, *, alpha: float = 5.0, structured: bool = True, **settings: Any) -> Diff:
    """Differences of zero for every parameter of the model, tied ones once, behind gates that start at `alpha`.

    Args:
        lm: the model.
        gates: made before; None: fresh ones, of these settings.
        alpha: where gates start; 5 is open in all but a few draws.
        structured: whether each parameter has a gate as a whole too.
        settings: price, priced, low and high of `Gates`.
    """
    group = torch.full((len(lm.parameters),), alpha) if structured else None
    made = gates or Gates([torch.full(one.shape, alpha) for one in lm.parameters.values()], group, **settings)
    return Diff({name: torch.zeros(one.shape) for name, one in lm.parameters.items()}, made)


def once(part: Part, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of a `Diff`: z · w under one draw of its gates, and w, by parameter name."""
    mine = part.tensors()
    again = Diff.build(part.config(), mine)
    again.gates.begin(0, generator)
    with torch.no_grad():
        return again.differences(), {name: mine[f"weight/{name}"] for name in again.names}


def projected(differences: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Which entries are kept of differences: the largest, over all tensors, and of equal ones the first.

    Args:
        differences: parameter name -> a difference an entry.
        share: of all entries, the most that are kept: ⌊share · entries⌋, but at least one.

    Returns:
        Parameter name -> numbers of its entries that are kept, ascending; zeros never are.

    Raises:
        SettingError: a share that is none.
    """
    if not 0 < share <= 1:
        raise SettingError(f"`share` is {share}", hint="it is above 0, and 1 at most")
    sizes = torch.cat([one.detach().flatten().abs().cpu() for one in differences.values()])
    most = math.floor(share * len(sizes))
    if most < 1:
        warn(f"a share of {share} of {len(sizes)} entries is less than one: one is kept", stacklevel=2)
        most = 1
    line = sizes.kthvalue(len(sizes) - most + 1).values
    kept = sizes > line
    equal = (sizes == line).nonzero()[:, 0][: most - int(kept.sum())]
    kept[equal] = True
    kept &= sizes > 0
    if int(kept.sum()) < most:
        warn(f"only {int(kept.sum())} entries differ at all, where {most} could", stacklevel=2)
    found, first = {}, 0
    for name, one in differences.items():
        found[name] = kept[first : first + one.numel()].nonzero()[:, 0]
        first += one.numel()
    return found


def sparse(kept: Mapping[str, Int[Tensor, " entries"]], values: Mapping[str, Tensor]) -> Sparse:
    """Differences of the entries that are kept, with these values; parameters without any are left out."""
    some = {name: index for name, index in kept.items() if len(index)}
    sized = {name: index if values[name].numel() >= LONG else index.to(torch.int32) for name, index in some.items()}
    return Sparse(sized, {name: values[name].detach().cpu().flatten()[index] for name, index in some.items()}).eval()
