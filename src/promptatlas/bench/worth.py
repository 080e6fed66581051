"""How many data points a prompt is worth: how much less data one way of learning needs for the same score.

Le Scao & Rush 2021, "How Many Data Points is a Prompt Worth?", arXiv:2103.08493.

Both ways are measured from the same numbers of labelled examples, several times each. At every score that both come to,
the advantage is how many examples more the other way needs; its average over these scores is what it is worth.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from promptatlas.errors import DataError

LEVELS = 1000  # of the score, at which the advantage is averaged (released code)

Curve = NDArray[np.float64]  # [sizes]
Runs = Mapping[int, Sequence[float]]  # number of examples -> the score of every run


@dataclass(frozen=True)
class Worth:
    """What one way is worth beside another.

    Attributes:
        average: examples fewer that it needs; not a number where there is no score that both come to.
        spread: deviation of that when a run of each is left out (all pairs); not a number with fewer than two runs.
        low: the least score both come to; a share.
        high: the highest.
        why: there is no average; "" where there is one.
    """

    average: float
    spread: float
    low: float
    high: float
    why: str = ""


def worth(ones: Runs, others: Runs) -> Worth:
    """How many examples fewer `ones` need than `others` (the paper: a prompt, and a head).

    Raises:
        DataError: fewer than two numbers of examples, not the same ones for both, or none measured at the least.
    """
    sizes, mine, theirs = _arrays(ones, others)
    curves = best_so_far(mine), best_so_far(theirs)
    low, high = window(*curves)
    if high <= low:
        why = f"one of them is never better than {low:.3f}, where the other begins"
        return Worth(math.nan, math.nan, low, high, why)
    return Worth(average(sizes, *curves), _spread(sizes, mine, theirs), low, high)


def best_so_far(runs: NDArray[np.float64]) -> Curve:
    """The best of [runs, sizes] at each size or a smaller one: it never falls, so that it can be turned round."""
    best = np.where(np.isnan(runs), -math.inf, runs).max(axis=0)
    if best[0] == -math.inf:
        raise DataError("no run was measured at the least number of examples", hint="leave that number out")
    return np.maximum.accumulate(best)


def window(one: Curve, other: Curve) -> tuple[float, float]:
    """The scores that both curves come to; empty where it ends before it begins."""
    return float(max(one[0], other[0])), float(min(one[-1], other[-1]))


def needed(score: float, sizes: Curve, curve: Curve) -> float:
    """How many examples a curve needs for a score inside its range: linear where it first exceeds it."""
    at = int(np.argmax(curve > score))
    step = (score - curve[at - 1]) / (curve[at] - curve[at - 1])
    return float(sizes[at - 1] + step * (sizes[at] - sizes[at - 1]))


def average(sizes: Curve, one: Curve, other: Curve) -> float:
    """The mean advantage of `one` over the scores both come to, their ends left out; not a number without any."""
    low, high = window(one, other)
    if high <= low:
        return math.nan
    scores = [low + at / (LEVELS + 1) * (high - low) for at in range(1, LEVELS + 1)]
    return math.fsum(needed(score, sizes, other) - needed(score, sizes, one) for score in scores) / LEVELS


def _spread(sizes: Curve, mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """The deviation of the average over all pairs of a run of each that is left out; pairs without a window aside."""
    if len(mine) < 2 or len(theirs) < 2:
        return math.nan
    found = [
        average(sizes, best_so_far(np.delete(mine, a, 0)), best_so_far(np.delete(theirs, b, 0)))
        for a, b in product(range(len(mine)), range(len(theirs)))
    ]
    kept = [one for one in found if not math.isnan(one)]
    return float(np.std(kept)) if kept else math.nan


def _arrays(ones: Runs, others: Runs) -> tuple[Curve, NDArray[np.float64], NDArray[np.float64]]:
    """Sizes, and both as [runs, sizes]; runs that some size lacks are not a number there."""
    if set(ones) != set(others):
        apart = sorted(set(ones) ^ set(others))
        raise DataError(f"only one of both was measured from {apart[0]} examples", hint="measure both from the same")
    if len(ones) < 2:
        raise DataError(f"{len(ones)} number of examples is no curve", hint="measure both from 2 or more")
    sizes = sorted(ones)
    return np.array(sizes, float), _table(ones, sizes), _table(others, sizes)


def _table(runs: Runs, sizes: Sequence[int]) -> NDArray[np.float64]:
    most = max(len(runs[size]) for size in sizes)
    return np.array([[*runs[size], *[math.nan] * (most - len(runs[size]))] for size in sizes], float).T
