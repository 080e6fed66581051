"""What answers cost: passes through a model, the tokens of those, and operations."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from promptatlas.lm.lm import LM


@dataclass
class Spent:
    """What a model has been made to read and to write.

    Attributes:
        passes: calls of the model (an encoder's and its decoder's count as one; every step of writing is one).
        tokens: positions of those passes, padding included; what was read before and kept counts for nothing.
    """

    passes: int = 0
    tokens: int = 0

    def add(self, tokens: int, passes: int = 1) -> None:
        """So many more."""
        self.passes += passes
        self.tokens += tokens


@dataclass
class Cost(Spent):
    """What was spent while it was counted.

    Attributes:
        operations: floating-point operations of all matrix products.
    """

    operations: int = 0

    def each(self, answers: int) -> dict[str, float]:
        """The same for one of so many answers.

        >>> Cost(passes=2, tokens=300, operations=10**6).each(4)
        {'passes': 0.5, 'tokens': 75.0, 'operations': 250000.0}
        """
        return {name: value / max(1, answers) for name, value in vars(self).items()}


@contextmanager
def counted(lm: "LM") -> Iterator[Cost]:
    """Count what this model does inside; the figures are there when it is over.

    Operations are those of this thread, of whatever model. Counting takes a few per cent of the time where passes are
    long, and many times the time of a step of training on short rows.
    """
    getattr(lm, "fast", None)  # what a model may do is found out once, and belongs to no answer
    cost, passes, tokens = Cost(), lm.spent.passes, lm.spent.tokens
    with FlopCounterMode(display=False) as counter:
        try:
            yield cost
        finally:
            cost.passes, cost.tokens = lm.spent.passes - passes, lm.spent.tokens - tokens
            cost.operations = counter.get_total_flops()
