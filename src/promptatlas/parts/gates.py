"""Gates that are drawn and may close: hard-concrete variables, whose expected number above zero has a gradient.

Louizos, Welling & Kingma 2018, arXiv:1712.01312, at temperature 1, as diff pruning has them.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.errors import SettingError
from promptatlas.lm.site import Site

EDGE = 1e-4  # uniform numbers keep this far from 0 and 1


def drawn(
    alpha: Float[Tensor, "*entries"], uniform: Float[Tensor, "*entries"], low: float, high: float
) -> Float[Tensor, "*entries"]:
    """Gates from uniform numbers: σ(log u - log(1 - u) + α), stretched to [low, high], cut to [0, 1]."""
    noise = uniform.log() - (1 - uniform).log()
    return ((noise + alpha).sigmoid() * (high - low) + low).clamp(0, 1)


def settled(alpha: Float[Tensor, "*entries"], low: float, high: float) -> Float[Tensor, "*entries"]:
    """Gates without chance, as answers are given under: those of u = 1/2."""
    return (alpha.sigmoid() * (high - low) + low).clamp(0, 1)


def open_chance(alpha: Float[Tensor, "*entries"], low: float, high: float) -> Float[Tensor, "*entries"]:
    """The chance of a gate above zero."""
    return (alpha - math.log(-low / high)).sigmoid()


class Gates(nn.Module):
    """A gate for every entry of some tensors, and where `group` is given one more for each tensor as a whole.

    It touches no model by itself: a part that goes through it holds it too, and it is trained beside that part, by an
    optimiser of its own. In training gates are drawn once a step; else they are settled.
    """

    kind: ClassVar[str] = "gates"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "head"

    def __init__(
        self, alpha: Iterable[Tensor], group: Float[Tensor, " groups"] | None, *, price: float = 0.0,
        priced: Literal["product", "sum"] = "product", low: float = -1.5, high: float = 1.5,
    ) -> None:  # fmt: skip
        """Copies, to be trained.

        Args:
            alpha: of each entry of each tensor; the higher, the likelier the gate is open.
            group: of each tensor as a whole; None: only entries have gates.
            price: of each entry that is expected to be open.
            priced: an entry under a group is open where both are ("product"), or each counts on its own ("sum").
            low: what gates are stretched to, below 0.
            high: the same, above 1.

        Raises:
            SettingError: a stretch under which no gate could close, or none open.
        """
        super().__init__()
        if low >= 0 or high <= 1:
            raise SettingError(f"gates stretched from {low} to {high} never close or open", hint="low < 0 and high > 1")
        self.alpha = nn.ParameterList([nn.Parameter(one.detach().clone().float().cpu()) for one in alpha])
        self.group = None if group is None else nn.Parameter(group.detach().clone().float().cpu())
        self.price, self.priced, self.low, self.high = price, priced, low, high
        self._uniform: list[Tensor] | None = None

    def begin(self, step: int, generator: torch.Generator) -> None:
        """Draw this step's gates."""
        each = [*self.alpha, *([] if self.group is None else [self.group])]
        self._uniform = [
            torch.rand(one.shape, generator=generator).clamp(EDGE, 1 - EDGE).to(one.device) for one in each
        ]

    def gates(self) -> list[Tensor]:
        """A tensor of gates for each tensor, that of its group in it."""
        each = [*self.alpha, *([] if self.group is None else [self.group])]
        if self.training and self._uniform is not None:
            found = [drawn(one, u, self.low, self.high) for one, u in zip(each, self._uniform, strict=True)]
        else:
            found = [settled(one, self.low, self.high) for one in each]
        if self.group is None:
            return found
        *entries, groups = found
        return [one * group for one, group in zip(entries, groups, strict=True)]

    def expected(self) -> Float[Tensor, ""]:
        """How many gates are expected to be open."""
        entries = torch.stack([open_chance(one, self.low, self.high).sum() for one in self.alpha])
        if self.group is None:
            return entries.sum()
        groups = open_chance(self.group, self.low, self.high)
        return (entries * groups).sum() if self.priced == "product" else entries.sum() + groups.sum()

    def penalty(self) -> Float[Tensor, ""]:
        """Their price."""
        return self.price * self.expected()

    def config(self) -> dict[str, Any]:
        """Price and stretch."""
        return {"price": self.price, "priced": self.priced, "low": self.low, "high": self.high}

    def tensors(self) -> Mapping[str, Tensor]:
        """α of entries, by number, and of groups."""
        entries = {str(at): one.detach().cpu() for at, one in enumerate(self.alpha)}
        return entries if self.group is None else {**entries, "group": self.group.detach().cpu()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Gates":
        """The part again."""
        group = tensors.get("group")
        entries = [tensors[str(at)] for at in range(len(tensors) - (group is not None))]
        return cls(entries, group, **config)
