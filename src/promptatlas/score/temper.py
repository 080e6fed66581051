"""Temperature: label probabilities made less sure by one number.

Guo, Pleiss, Sun & Weinberger 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import SettingError
from promptatlas.score.calibrate import Null
from promptatlas.text.template import Template

MOST, STEPS = 32.0, 41  # temperatures that are tried: a geometric row from 1 on


@dataclass(frozen=True, kw_only=True)
class Temper:
    """Log-probabilities divided by a temperature, then summing to one again: no answer changes, only how sure it is.

    Attributes:
        temperature: above 1 it makes less sure.
    """

    kind: ClassVar[str] = "temper"
    version: ClassVar[int] = 1

    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no temperature."""
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise SettingError(f"a temperature of {self.temperature}", hint="it is a number above 0")

    @property
    def proper(self) -> bool:
        """Yes: probabilities come out."""
        return True

    def nulls(self, example: Example, template: Template) -> tuple[Null, ...]:
        """None."""
        return ()

    def apply(
        self, mass: Float[Tensor, "examples labels"], null: Float[Tensor, "examples nulls labels"] | None
    ) -> Float[Tensor, "examples labels"]:
        """Log-probabilities."""
        return (mass.log_softmax(-1) / self.temperature).log_softmax(-1)

    def config(self) -> dict[str, Any]:
        """The temperature."""
        return {"temperature": self.temperature}

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Temper":
        """The temperature again."""
        return cls(temperature=config["temperature"])


def suiting(logp: Float[Tensor, "examples labels"], right: Sequence[int]) -> float:
    """The temperature under which the right answers are likeliest, 1 or above; of no examples, 1.

    One below 1 is not tried: of a few examples all may be right by chance, and the next one that isn't then costs much.

    Args:
        logp: log-probabilities that were not learned from these examples.
        right: of each, the place of the right answer.

    >>> sure = torch.tensor([[0.99, 0.01], [0.99, 0.01]]).log()
    >>> suiting(sure, [0, 1]), suiting(sure, [0, 0])  # half right; all right
    (32.0, 1.0)
    """
    if not len(right):
        return 1.0
    tried = torch.logspace(0, math.log2(MOST), STEPS, base=2, dtype=torch.float64)
    scaled = (logp.double()[None] / tried[:, None, None]).log_softmax(-1)
    losses = -scaled[:, torch.arange(len(right)), torch.tensor(right)].mean(1)
    return float(tried[int(losses.argmin())])
