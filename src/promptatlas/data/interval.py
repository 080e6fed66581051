"""Interval: an answer that is a number, between what one word stands for and what its opposite does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from promptatlas.data.example import Example
from promptatlas.data.view import Answer, One
from promptatlas.errors import DataError, SettingError

POLES = ("low", "high")  # the labels whose words stand for the two ends


@dataclass(frozen=True)
class Interval:
    """One example is one row; the answer is low + p(high) * (high - low), p being of the label `high` against `low`.

    Gao, Fisch & Chen 2021, arXiv:2012.15723, sec. 4.2, after Mettes et al. 2019.

    Attributes:
        low: the number that the label `low` alone stands for.
        high: the number of the label `high`.
    """

    low: float
    high: float
    kind: ClassVar[str] = "interval"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse ends that can't be."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise SettingError(f"an interval from {self.low} to {self.high}", hint="the lower end is below the higher")

    def rows(self, example: Example) -> tuple[Example, ...]:
        """The example itself."""
        return (example,)

    def fold(self, example: Example, scores: Any, labels: Sequence[str]) -> Answer:
        """A number out of Float[1 labels]; its confidence is the probability of the end it is nearer to.

        Raises:
            DataError: the scores have another shape, or one is not a number.
            SettingError: the labels aren't `low` and `high`.

        >>> round(float(Interval(0.0, 5.0).fold(Example(), [[1.0, 2.0]], POLES).value), 6)
        3.655293
        """
        check_poles(labels)
        found = One().fold(example, scores, labels)
        value = self.low + found.probabilities["high"] * (self.high - self.low)
        return Answer(value, found.confidence, found.probabilities, found.why)

    def logits(self, scores: Any, labels: Sequence[str]) -> Any:
        """The one row: the two ends, in the labels' order."""
        return scores[0]

    def place(self, example: Example) -> float:
        """Where in the interval the example's number is, from 0 to 1. Raises DataError: it has none, or one outside."""
        value = example.target
        named = f"example `{example.key}`" if example.key else "an example"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DataError(f"{named} has the target {value!r}, which is no number")
        if not self.low <= value <= self.high:
            raise DataError(
                f"{named} has the target {value:g}, outside the interval from {self.low:g} to {self.high:g}",
                hint="a task says its range: `low` and `high` in task.json",
            )
        return (value - self.low) / (self.high - self.low)

    def pole(self, example: Example) -> str:
        """The label of the half its number is in; the middle is low (sec. 4.2 and 6, released code)."""
        return POLES[self.place(example) > 0.5]

    def config(self) -> dict[str, Any]:
        """Kind, version, and the two ends."""
        return {"kind": self.kind, "version": self.version, "low": self.low, "high": self.high}

    def tensors(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    @classmethod
    def build(cls, config: Any, tensors: Any) -> "Interval":
        """The view again."""
        return cls(float(config["low"]), float(config["high"]))


def check_poles(labels: Sequence[str]) -> None:
    """Refuse words for anything but the two ends of an interval. Raises SettingError."""
    if sorted(labels) != sorted(POLES):
        said = ", ".join(f"`{one}`" for one in labels) or "none"
        raise SettingError(
            f"a number is told by words of the labels `low` and `high`, and these are {said}",
            hint='such as {"low": "terrible", "high": "great"}',
        )
