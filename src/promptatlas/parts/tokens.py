"""Tokens that were found, not learned: a trigger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.lm.site import Site


@dataclass(frozen=True)
class Tokens:
    """Real tokens wherever the template names the part, by id: re-tokenising their text could change them."""

    ids: tuple[int, ...]
    kind: ClassVar[str] = "tokens"
    version: ClassVar[int] = 1
    site: ClassVar[Site] = "inputs"

    @property
    def length(self) -> int:
        """Positions it takes."""
        return len(self.ids)

    def vectors(self, lm: LM, rows: Sequence[Row]) -> Float[Tensor, "length width"]:
        """Their input vectors."""
        return lm.vectors[list(self.ids)]

    def config(self) -> dict[str, Any]:
        """The ids."""
        return {"ids": list(self.ids)}

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Tokens":
        """The part again."""
        return cls(tuple(config["ids"]))
