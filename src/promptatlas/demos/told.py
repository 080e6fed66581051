"""Demonstrations that each query is told apart from all others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.demos.pool import from_json, to_json
from promptatlas.demos.room import Drop
from promptatlas.errors import DataError
from promptatlas.lm.lm import LM


@dataclass(frozen=True)
class Told:
    """Of each query those told for its key."""

    kind: ClassVar[str] = "told"
    version: ClassVar[int] = 1
    fixed: ClassVar[bool] = False
    drop: ClassVar[Drop] = "first"

    shown: Mapping[str, tuple[Example, ...]]

    def pick(self, lm: LM, examples: Sequence[Example], *, draw: int = 0) -> list[list[Example]]:
        """Those of its key for each. Raises DataError for a query of another key."""
        for one in examples:
            if one.key not in self.shown:
                raise DataError(f"no demonstrations were told for the example `{one.key}`", hint="tell some by its key")
        return [list(self.shown[one.key]) for one in examples]

    def config(self) -> dict[str, Any]:
        """The examples by key."""
        return {"shown": {key: [to_json(one) for one in some] for key, some in self.shown.items()}}

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Told":
        """The same again."""
        return cls({key: tuple(from_json(one) for one in some) for key, some in config["shown"].items()})
