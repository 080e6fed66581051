"""Metrics: how good answers are, each with a percentile bootstrap interval.

    label    accuracy, macro_f1, mcc; micro_f1 of all labels but the one that says none holds, where there is one
    labels   micro_f1, macro_f1, exact_match
    number   pearson, spearman, mean_absolute_error
    tags     span_f1, span_precision, span_recall, accuracy (of tags); without spans the last only
    choice   accuracy
    text     bleu, chrf (0 to 100, as sacrebleu has them), exact_match; number_match where all targets are numbers,
             however they are written (18, 18.0, $18)

and for every kind `invalid`: the share of answers (of tags, for tags) that couldn't be right, being outside the labels,
no number, or missing. They count as wrong. A formula that divides by zero (no positives, a constant column) gives 0.

A bootstrap sample is n examples drawn with replacement. All metrics but those of numbers are functions of sums over
examples, so a sample is drawn as how often each distinct example occurs: the same distribution, in a fraction of the
work, and independent of the order of the examples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy

from promptatlas.data.count import Array, columns_of, stack
from promptatlas.data.example import Target
from promptatlas.data.task import Kind
from promptatlas.errors import DataError, SettingError

_CELLS = 4_000_000  # floats held at once while drawing


@dataclass(frozen=True)
class Measure:
    """A measured value and its bootstrap interval."""

    name: str
    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, str | float]:
        """The four fields."""
        return asdict(self)


def measure(
    kind: Kind,
    targets: Sequence[Target],
    answers: Sequence[Target],
    *,
    labels: Sequence[str] = (),
    none: str = "",
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Measure]:
    """Measure answers against targets, by all metrics of the kind.

    Args:
        kind: of the task.
        targets: what is right; for "text" one text, or several of which any is.
        answers: what was answered, None where nothing was.
        labels: what may be answered; those among the targets where not given.
        none: of "label", the one that says that none of the others holds ("Other", "no_relation"). Right answers of it
            are no hits of `micro_f1`: precision is over examples answered with another, recall over those that have
            another. Without such a label `micro_f1` is the accuracy.
        samples: of the bootstrap.
        seed: of the bootstrap.
        level: how much of the bootstrap the interval holds.

    Raises:
        DataError: there is nothing to measure, an example without target, or lengths that differ.
        SettingError: `samples` or `level` out of range.
    """
    if samples < 1 or not 0 < level < 1:
        raise SettingError(f"{samples} samples at level {level}", hint="1 sample or more, a level between 0 and 1")
    if len(targets) != len(answers):
        raise DataError(f"{len(targets)} targets, {len(answers)} answers")
    if not targets:
        raise DataError("no examples to measure on")
    if None in targets:
        raise DataError(f"example {targets.index(None)} has no target", hint="measure on labelled examples")
    rng = numpy.random.default_rng(seed)
    if kind == "number":
        table = _number_table(targets, answers)
        values, drawn = _number_values(table, samples, rng)
    else:
        columns, formulas = columns_of(kind, targets, answers, labels, none)
        values = {name: float(formula(columns.sum(0)[None])[0]) for name, formula in formulas.items()}
        sums = _bootstrap_sums(columns, samples, rng)
        drawn = {name: formula(sums) for name, formula in formulas.items()}
    ends = ((1 - level) / 2, (1 + level) / 2)
    bounds = {name: numpy.quantile(several, ends) for name, several in drawn.items()}
    return {
        name: Measure(name, value, float(bounds[name][0]), float(bounds[name][1])) for name, value in values.items()
    }


# Numbers: correlations need the examples themselves, not sums.


def _number_table(targets: Sequence[Target], answers: Sequence[Target]) -> Array:
    """[examples, (target, answer, invalid)]; an invalid answer stands at the targets' farther end."""
    wanted = [_float(target) for target in targets]
    if any(map(math.isnan, wanted)):
        raise DataError(f"target {wanted.index(next(filter(math.isnan, wanted)))} is not a number")
    low, high = min(wanted), max(wanted)
    given = [_float(answer) for answer in answers]
    invalid = [not math.isfinite(number) for number in given]
    worst = [low if target - low > high - target else high for target in wanted]
    filled = [far if wrong else number for number, far, wrong in zip(given, worst, invalid, strict=True)]
    return stack(wanted, filled, invalid)


def _float(value: Target) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _number_values(
    table: Array, samples: int, rng: numpy.random.Generator
) -> tuple[dict[str, float], dict[str, Array]]:
    formulas: dict[str, Callable[[Array], float]] = {
        "pearson": lambda rows: _correlation(rows[:, 0], rows[:, 1]),
        "spearman": lambda rows: _correlation(_ranks(rows[:, 0]), _ranks(rows[:, 1])),
        "mean_absolute_error": lambda rows: float(numpy.abs(rows[:, 0] - rows[:, 1]).mean()),
        "invalid": lambda rows: float(rows[:, 2].mean()),
    }
    drawn: dict[str, list[float]] = {name: [] for name in formulas}
    for _ in range(samples):
        rows = table[rng.integers(len(table), size=len(table))]
        for name, formula in formulas.items():
            drawn[name].append(formula(rows))
    values = {name: formula(table) for name, formula in formulas.items()}
    return values, {name: numpy.array(several) for name, several in drawn.items()}


def _correlation(one: Array, other: Array) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = math.sqrt(float((one**2).sum()) * float((other**2).sum()))
    return float((one * other).sum()) / scale if scale else 0.0


def _ranks(values: Array) -> Array:
    """Ranks from 1, equals sharing their mean."""
    _, place, counts = numpy.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (numpy.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


# The bootstrap.


def _bootstrap_sums(columns: Array, samples: int, rng: numpy.random.Generator) -> Array:
    """[samples, columns]: sums over as many examples as there are, drawn with replacement."""
    distinct, counts = numpy.unique(columns, axis=0, return_counts=True)
    shares = counts / len(columns)
    step = max(1, _CELLS // len(distinct))
    sizes = [min(step, samples - start) for start in range(0, samples, step)]
    return numpy.vstack([rng.multinomial(len(columns), shares, size=size) @ distinct for size in sizes])
