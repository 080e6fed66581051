"""What a choice among candidates is made of, and what it was worth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from promptatlas.train.folds import Fold, Selection

LEAST = 1e-6  # of a probability: one of 0 counts as this, one of 1 as what it leaves (released code)


@dataclass(frozen=True)
class Held:
    """What a candidate did on the examples one fold holds back.

    Attributes:
        loss: minus the natural log-probability of each right answer.
        right: whether each was answered right.
        shares: each one's probabilities, an answer each, in the order of the answers' names: candidates may have their
            labels in other orders.
        failed: why it couldn't be asked; "" where it was.
        places: of each, the place of the right answer among them.
    """

    loss: tuple[float, ...] = ()
    right: tuple[bool, ...] = ()
    failed: str = ""
    shares: tuple[tuple[float, ...], ...] = ()
    places: tuple[int, ...] = ()

    def part(self, start: int, end: int) -> "Held":
        """What it did on some of them."""
        if self.failed:
            return self
        cut = slice(start, end)
        return Held(self.loss[cut], self.right[cut], shares=self.shares[cut], places=self.places[cut])

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Held":
        """One that was kept as JSON."""
        return cls(
            loss=tuple(values["loss"]),
            right=tuple(values["right"]),
            failed=values["failed"],
            shares=tuple(map(tuple, values.get("shares", ()))),  # a fit begun before these were kept goes on
            places=tuple(values.get("places", ())),
        )


def joined(some: Sequence[Held]) -> Held:
    """What was done on all of them, one after the other."""
    return Held(
        tuple(loss for one in some for loss in one.loss),
        tuple(right for one in some for right in one.right),
        next((one.failed for one in some if one.failed), ""),
        tuple(shares for one in some for shares in one.shares),
        tuple(place for one in some for place in one.places),
    )


def lost(share: float) -> float:
    """Minus the log of a probability, in nats; of one of 0 or 1 it is finite and above 0."""
    return -math.log(min(max(share, LEAST), 1 - LEAST))


@dataclass(frozen=True)
class Score:
    """What one candidate is worth.

    Attributes:
        name: the candidate's.
        value: the criterion, in nats, the lower the better: a mean an example, or a code length; infinite where a fold
            failed.
        loss: nats an example, over all that were held out.
        accuracy: share of them that was answered right.
        estimates: what the criterion varies over: the mean loss of each fold ("cv"), the code length of each order
            ("mdl"), the loss of each example ("dev").
        held: fold by fold.
        failed: why a fold failed; "" where none did.
        temperature: that its held-out answers suit, where it was asked for; else 1.
    """

    name: str
    value: float
    loss: float
    accuracy: float
    estimates: tuple[float, ...]
    held: tuple[Held, ...]
    failed: str = ""
    temperature: float = 1.0

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the estimates (over one less than there are); None where there is one alone."""
        return stdev(self.estimates) if len(self.estimates) > 1 and not self.failed else None

    @property
    def standard_error(self) -> float | None:
        """Of their mean, as if they were independent, which folds that share training examples aren't."""
        return None if self.deviation is None else self.deviation / math.sqrt(len(self.estimates))

    def to_json(self) -> dict[str, Any]:
        """All of it; null where there is no number."""
        folds = [
            {"loss": fmean(one.loss), "accuracy": fmean(one.right), "examples": len(one.loss)}
            for one in self.held
            if not one.failed
        ]
        found = {"value": self.value, "loss": self.loss, "accuracy": self.accuracy}
        numbers = {name: one if math.isfinite(one) else None for name, one in found.items()}
        spread = {"deviation": self.deviation, "standard_error": self.standard_error}
        return {"name": self.name, **numbers, **spread, "folds": folds, "failed": self.failed,
                "temperature": self.temperature}  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """What choosing this way is worth on examples that had no part in it.

    Attributes:
        loss: nats an example.
        accuracy: share answered right.
        standard_error: of the loss, over folds.
        chosen: the name chosen without each fold.
    """

    loss: float
    accuracy: float
    standard_error: float
    chosen: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """Which candidate was chosen, and what each was worth.

    Attributes:
        how: the way of choosing.
        names: of the candidates.
        at: the place of the chosen one.
        scores: a candidate; none where there was only one, and nothing to choose.
        folds: what all of them were asked.
        expected: what such a choice is worth, where `nested` asked for it. The chosen one's own score is the best of
            many, and so too good.
        note: what a reader of the result has to know.
    """

    how: Selection
    names: tuple[str, ...]
    at: int
    scores: tuple[Score, ...] = ()
    folds: tuple[Fold, ...] = ()
    expected: Expected | None = None
    note: str = ""

    @property
    def chosen(self) -> str:
        """The name of the chosen one."""
        return self.names[self.at]

    @property
    def ranking(self) -> tuple[int, ...]:
        """The places of all candidates, the best first, and of equals the first."""
        if not self.scores:
            return tuple(range(len(self.names)))
        return tuple(sorted(range(len(self.names)), key=lambda at: self.scores[at].value))

    @property
    def tied(self) -> tuple[str, ...]:
        """Those exactly as good as the chosen one, which came first."""
        best = [one.value for one in self.scores]
        return tuple(self.names[at] for at, value in enumerate(best) if value == best[self.at] and at != self.at)

    def figures(self) -> dict[str, float | int | str]:
        """What a history keeps of it."""
        score = self.scores[self.at]
        found: dict[str, float | int | str] = {
            "chosen": self.chosen, "candidates": len(self.names), "value": score.value, "loss": score.loss,
            "accuracy": score.accuracy,
        }  # fmt: skip
        if self.expected is not None:
            found |= {"expected_loss": self.expected.loss, "expected_accuracy": self.expected.accuracy}
        if self.tied:
            found["tied"] = ", ".join(self.tied)
        return found | ({"note": self.note} if self.note else {})

    def to_json(self) -> dict[str, Any]:
        """All of it, the folds too: the same can be asked again."""
        return {
            "how": asdict(self.how),
            "chosen": self.chosen,
            "tied": list(self.tied),
            "scores": [one.to_json() for one in self.scores],
            "folds": [asdict(one) for one in self.folds],
            "expected": None if self.expected is None else asdict(self.expected),
            "note": self.note,
        }


@dataclass(frozen=True)
class Judged:
    """How good a choice was, by a measure of every candidate that it didn't know.

    Attributes:
        measure: of the chosen one.
        best: whether no candidate has a higher one.
        worst: whether none has a lower one.
        gain: 0 where it is the candidates' mean, 100 where it is their best; 0 where all are alike.
    """

    measure: float
    best: bool
    worst: bool
    gain: float


def judged(measures: Sequence[float], at: int) -> Judged:
    """Judge a choice by a measure of every candidate, the higher the better, on examples nothing was chosen by."""
    mean, most, least = fmean(measures), max(measures), min(measures)
    gain = 100 * (measures[at] - mean) / (most - mean) if most > least else 0.0
    return Judged(measures[at], measures[at] == most, measures[at] == least, gain)
