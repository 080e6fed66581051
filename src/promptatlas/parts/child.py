"""A network of which each step moves a part: Child-Tuning's."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar
from warnings import warn

import numpy as np
import torch
from torch import Tensor, nn

from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.blocks import BLOCK
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part, Site
from promptatlas.parts.weights import Values


class Child(nn.Module):
    """Other values for parameters, whose gradients are masked between clipping and the optimiser's step.

    Without masks a new one is drawn each step, in which an entry is kept with the chance `share` and is then divided by
    it. With masks, those hold throughout; what has none is trained whole.
    """

    kind: ClassVar[str] = "child"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "weights"

    def __init__(
        self, values: Part, *, share: float = 1.0, masks: Mapping[str, Tensor] | None = None, decay: bool = True
    ) -> None:
        """A child of the network that `values` (a `Values`) is.

        Args:
            values: where training starts.
            share: of entries that move in a step, where there are no masks.
            masks: parameter name -> which entries move at all.
            decay: whether weight decay shrinks what is masked too, as decoupled decay does.
        """
        super().__init__()
        self.inner = Values(values.tensors())
        self.share, self.decay, self.fixed = checked_share(share), decay, masks is not None
        self.masked = [name for name in self.inner.names if masks and name in masks]
        for at, name in enumerate(self.masked):
            self.register_buffer(f"mask_{at}", (masks or {})[name].bool().cpu().clone())
        self._draw: torch.Generator | None = None

    def overrides(self, lm: LM) -> Mapping[str, Tensor]:
        """Parameter name -> value, in the model's dtype."""
        return self.inner.overrides(lm)

    def begin(self, step: int, generator: torch.Generator) -> None:
        """Keep what this step's mask is drawn by."""
        self._draw = generator

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """Around the optimiser's step: gradients are masked, and where nothing decays, what is masked stays."""
        before: dict[str, Tensor] = {}
        masks = {name: self.get_buffer(f"mask_{at}") for at, name in enumerate(self.masked)}
        named = dict(zip(self.inner.names, self.inner.values, strict=True))
        for name, one in named.items():
            if one.grad is None:
                continue
            if name in masks:
                one.grad *= masks[name]
                before |= {} if self.decay else {name: one.detach().clone()}
            elif not self.fixed and self.share < 1:
                drawn = torch.rand(one.shape, generator=self._draw) < self.share
                one.grad *= drawn.to(one.grad) / self.share
        yield
        with torch.no_grad():
            for name, old in before.items():
                named[name].copy_(torch.where(masks[name], named[name], old))

    def config(self) -> dict[str, Any]:
        """Names, share, and which have masks."""
        names = list(self.inner.names)
        return {"names": names, "share": self.share, "decay": self.decay, "masks": self.masked if self.fixed else None}

    def tensors(self) -> Mapping[str, Tensor]:
        """Values and masks by name."""
        masks = {f"mask/{name}": self.get_buffer(f"mask_{at}").cpu() for at, name in enumerate(self.masked)}
        return {**{f"value/{name}": one for name, one in self.inner.tensors().items()}, **masks}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Child":
        """The part again."""
        values = Values({name: tensors[f"value/{name}"] for name in config["names"]})
        masks = None if config["masks"] is None else {name: tensors[f"mask/{name}"] for name in config["masks"]}
        return cls(values, share=config["share"], masks=masks, decay=config["decay"])


def grown(part: Part) -> Values:
    """What a child has become: values, without the masks that only training needs."""
    values = {name.removeprefix("value/"): one for name, one in part.tensors().items() if name.startswith("value/")}
    return Values(values).eval()


def children(information: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Masks of the entries that matter most: those not below the quantile 1 - share of all that are in layers.

    Embeddings and heads, which are in no layer, get no mask: they are trained whole.

    Args:
        information: parameter name -> how much each entry matters, 0 or more.
        share: of entries that are kept, over all layers together.

    Raises:
        SettingError: a share that is none.
        NeedsError: no parameter is in a layer.
    """
    candidates = {name: one for name, one in information.items() if BLOCK.match(name)}
    if not candidates:
        raise NeedsError("no parameter is in a layer, so no child can be chosen", hint='mode="F" needs no layers')
    line = least(list(candidates.values()), checked_share(share))
    if line == 0 and share < 1:
        warn("so many entries matter nothing to the loss that all of them are kept", stacklevel=2)
    return {name: one >= line for name, one in candidates.items()}


def least(information: Sequence[Tensor], share: float) -> float:
    """The value that a share of all entries reach: a percentile, interpolated linearly."""
    return float(np.percentile(torch.cat([one.flatten() for one in information]).numpy(), (1 - share) * 100))


def checked_share(share: float) -> float:
    """The share itself. Raises SettingError for one that is none."""
    if not 0 < share <= 1:
        raise SettingError(f"`share` is {share}", hint="it is above 0, and 1 at most")
    return share
