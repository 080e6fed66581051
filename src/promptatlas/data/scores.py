"""Scores as lists of floats: read off whatever array they come in, and checked."""

import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from promptatlas.data.example import Example
from promptatlas.errors import DataError


@runtime_checkable
class _Array(Protocol):
    def tolist(self) -> Any: ...


def table(example: Example, scores: Any, rows: int, labels: int) -> list[list[float]]:
    """Float[rows labels] out of something array-like. Raises DataError for another shape, or what is not a number."""
    listed = scores.tolist() if isinstance(scores, _Array) else scores
    found = [[float(score) for score in row] for row in listed]
    if len(found) != rows or any(len(row) != labels for row in found):
        widths = sorted({len(row) for row in found})
        raise DataError(
            f"example `{example.key}` has scores of {len(found)} rows by {widths} labels, not {rows} by {labels}"
        )
    if any(math.isnan(score) or score == math.inf for row in found for score in row):
        raise DataError(f"example `{example.key}` has a score that is not a number")
    return found


def log_odds(row: Sequence[float], right: int) -> float:
    """A score against the log-sum of all others; as it is where there are no others."""
    others = [score for index, score in enumerate(row) if index != right]
    if not others or row[right] == -math.inf:
        return row[right]
    most = max(others)
    if most == -math.inf:
        return math.inf
    return row[right] - most - math.log(math.fsum(math.exp(score - most) for score in others))
