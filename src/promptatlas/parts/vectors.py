"""Input vectors: a soft prompt, and the ways to start one."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar
from warnings import warn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from promptatlas.errors import CannotAttach, SettingError
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.lm.site import Part, Site
from promptatlas.text.runs import Before

ALONE = Before(start=True)
FREQUENT = 5000  # prompt tuning samples among the vocabulary's first rows, which are roughly its commonest pieces


class Vectors(nn.Module):
    """`length` vectors spliced among the input vectors wherever the template names the part: weight [length, width]."""

    kind: ClassVar[str] = "vectors"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "inputs"
    ids: ClassVar[None] = None

    def __init__(self, weight: Float[Tensor, "length width"]) -> None:
        """A copy of `weight`, to be trained."""
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone().float().cpu())

    @property
    def length(self) -> int:
        """Positions it takes."""
        return self.weight.shape[0]

    def vectors(self, lm: LM, rows: Sequence[Row]) -> Float[Tensor, "length width"]:
        """The same for every row. Raises CannotAttach where they are of another width than the model's."""
        if self.weight.shape[1] != lm.width:
            raise CannotAttach(
                f"vectors of shape {tuple(self.weight.shape)} don't fit {lm.name}, whose are {lm.width} wide",
                hint="they were learned on another model",
            )
        return self.weight

    def config(self) -> dict[str, Any]:
        """Nothing beside the tensor."""
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """The vectors."""
        return {"weight": self.weight.detach().cpu()}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Vectors":
        """The part again."""
        return cls(tensors["weight"])


def uniform(lm: LM, length: int, *, seed: int, low: float = -0.5, high: float = 0.5) -> Vectors:
    """Uniform random vectors, in prompt tuning's range: it suits models whose input vectors are about as large."""
    generator = torch.Generator().manual_seed(seed)
    return Vectors(torch.rand(checked(lm, length), lm.width, generator=generator) * (high - low) + low)


def vocabulary(lm: LM, length: int, *, seed: int, top: int = FREQUENT) -> Vectors:
    """Vectors of `length` different pieces among the first `top` of the vocabulary (with repeats only beyond `top`).

    Raises:
        SettingError: `top` not above 0.
    """
    return Vectors(lm.vectors[torch.tensor(drawn(lm, length, seed=seed, top=top), dtype=torch.long).to(lm.device)])


def drawn(lm: LM, length: int, *, seed: int, top: int = FREQUENT) -> list[int]:
    """Ids of such pieces; see `vocabulary`."""
    if top <= 0:
        raise SettingError(
            f"can't sample {length} pieces among the first {top} of the vocabulary", hint=f"use top={FREQUENT}"
        )
    pool = min(top, lm.vectors.shape[0])
    generator = torch.Generator().manual_seed(seed)
    if checked(lm, length) > pool:
        return torch.randint(pool, (length,), generator=generator).tolist()
    return torch.randperm(pool, generator=generator)[:length].tolist()


def of_text(lm: LM, text: str, length: int | None = None, *, seed: int = 0) -> Vectors:
    """The pieces of a text, one a vector; cut to `length`, or filled up from the vocabulary."""
    ids = list(lm.tokens(text))
    return _filled(lm, [lm.vectors[i] for i in ids], len(ids) if length is None else length, seed)


def of_labels(lm: LM, labels: Sequence[str], length: int, *, before: Before = ALONE, seed: int = 0) -> Vectors:
    """The mean of each label string's pieces, a vector each, as it stands after `before`; the rest from the vocabulary.

    Labels beyond `length` are left out with a warning, and so are those without pieces.
    """
    if len(labels) > length:
        warn(f"{length} vectors can't start from {len(labels)} labels: the last are left out", stacklevel=2)
    pieces = [list(lm.word(label, before)) for label in labels]
    return _filled(lm, [lm.vectors[ids].float().mean(0) for ids in pieces if ids], length, seed)


def digest(part: Part) -> str:
    """A hash of what a part has learned, by which a start that is made again is known to be the same."""
    found = sha256()
    for name, one in sorted(part.tensors().items()):
        found.update(name.encode() + one.float().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def _filled(lm: LM, rows: Sequence[Tensor], length: int, seed: int) -> Vectors:
    rest = vocabulary(lm, max(checked(lm, length) - len(rows), 1), seed=seed)
    mine = torch.stack([row.float().cpu() for row in rows]) if rows else torch.zeros(0, lm.width)
    return Vectors(torch.cat([mine[:length], rest.weight.detach()[: max(length - len(rows), 0)]]))


def checked(lm: LM, length: int) -> int:
    """Refuse a length that leaves no room for text."""
    if length < 0 or length >= lm.window:
        raise SettingError(
            f"{length} vectors leave no room for text in a window of {lm.window}",
            hint=f"use a length from 0 to {lm.window - 1}",
        )
    return length
