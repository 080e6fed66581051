"""Whether one method is ahead of another: the paired bootstrap over draws and test examples."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from promptatlas.bench.report import Cell

SAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """How far one method is ahead of another on the same draws and test examples.

    Attributes:
        mean: over draws and examples.
        low: where the 95 % interval begins.
        high: where it ends.
        draws: that both were measured on.
    """

    mean: float
    low: float
    high: float
    draws: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def paired(
    ones: Iterable[Cell], others: Iterable[Cell], figure: str, *, samples: int = SAMPLES, seed: int = 0
) -> Difference | None:
    """How far `ones` are ahead of `others`, both of one task and number of shots; None where they share no draw.

    Draws and test examples are both drawn again, with replacement, the same for either method; where no hits were kept,
    draws alone.

    Args:
        ones: cells of a method.
        others: cells of the other.
        figure: what is compared.
        samples: of the bootstrap.
        seed: of what it draws.
    """
    here, there = _by_draw(ones, figure), _by_draw(others, figure)
    pairs = [(one, there[seed]) for seed, one in here.items() if seed in there]
    if not pairs:
        return None
    gains = _gains(pairs, figure)  # [draws, examples]
    random = np.random.default_rng(seed)
    draws, examples = gains.shape
    by_draw = random.multinomial(draws, [1 / draws] * draws, samples) / draws  # [samples, draws]
    by_example = random.multinomial(examples, [1 / examples] * examples, samples) / examples  # [samples, examples]
    found = ((by_draw @ gains) * by_example).sum(1)  # [samples]
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(float(gains.mean()), float(low), float(high), draws)


def _by_draw(cells: Iterable[Cell], figure: str) -> dict[int, Cell]:
    """A cell a draw; of several orders of its demonstrations the mean, of which no example is just right or wrong."""
    found: dict[int, list[Cell]] = {}
    for one in cells:
        if figure in one.figures:
            found.setdefault(one.seed, []).append(one)
    return {
        seed: some[0] if len(some) == 1 else replace(
            some[0], figures={figure: fmean(one.figures[figure] for one in some)}, hits=""
        )
        for seed, some in found.items()
    }  # fmt: skip


def _gains(pairs: Sequence[tuple[Cell, Cell]], figure: str) -> NDArray[np.float64]:
    """Right or not, one minus the other, of each example; of whole draws where that isn't known."""
    sizes = {len(cell.hits) for pair in pairs for cell in pair}
    if figure == "accuracy" and len(sizes) == 1 and sizes != {0}:
        ones, others = (np.array([[*map(int, pair[at].hits)] for pair in pairs], float) for at in (0, 1))
        gains: NDArray[np.float64] = ones - others
        return gains
    return np.array([[one.figures[figure] - two.figures[figure]] for one, two in pairs], float)
