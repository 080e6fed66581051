"""Views: one example as one row or many, and one answer out of their scores.

Scores are array-like of floats, Float[rows labels]: a tensor, a numpy array, lists of lists.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

from promptatlas.data.example import Example, Target
from promptatlas.errors import ArtifactError, DataError, SettingError, near


@dataclass(frozen=True)
class Answer:
    """What is answered of one example.

    Attributes:
        value: a label, choice or text (number, set, tags for tasks of those kinds); None where nothing is answered.
        confidence: the value's probability.
        probabilities: of every label or choice.
        why: what was out of the ordinary, for people; "" mostly.
    """

    value: Target
    confidence: float
    probabilities: Mapping[str, float] = field(default_factory=dict)
    why: str = ""


@runtime_checkable
class View(Protocol):
    """One example as one row or many, and one answer out of their scores."""

    kind: ClassVar[str]
    version: ClassVar[int]

    def rows(self, example: Example) -> Sequence[Example]:
        """What is encoded of the example, each with its key and target, so that leave-one-out still knows it."""

    def fold(self, example: Example, scores: Any, labels: Sequence[str]) -> Answer:
        """One answer out of Float[rows labels], log-probabilities."""

    def logits(self, scores: Any, labels: Sequence[str]) -> Any:
        """Float[answers] out of a tensor Float[rows labels], what `fold` takes the softmax of; gradients pass."""

    def config(self) -> dict[str, Any]:
        """JSON that rebuilds it: kind, version, settings."""

    def tensors(self) -> Mapping[str, Any]:
        """Nothing: views learn nothing."""

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> "View":
        """The view again, from what `config` gave."""


@dataclass(frozen=True)
class One:
    """One example is one row; the answer is its likeliest label, the first of equals."""

    kind: ClassVar[str] = "one"
    version: ClassVar[int] = 1

    def rows(self, example: Example) -> tuple[Example, ...]:
        """The example itself."""
        return (example,)

    def fold(self, example: Example, scores: Any, labels: Sequence[str]) -> Answer:
        """The likeliest label of Float[1 labels]; what doesn't sum to one is brought to it (softmax).

        Raises:
            DataError: the scores have another shape, or one is not a number.
        """
        return _answer(labels, _table(example, scores, 1, len(labels))[0], "label")

    def logits(self, scores: Any, labels: Sequence[str]) -> Any:
        """The one row."""
        return scores[0]

    def config(self) -> dict[str, Any]:
        """Kind and version; there is nothing to set."""
        return {"kind": self.kind, "version": self.version}

    def tensors(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> "One":
        """The view again."""
        return cls()


@dataclass(frozen=True)
class Choices:
    """The example brings its own choices: a row each, that shows one; the answer is the likeliest choice.

    A choice's score is read off its row so:

    - One label: the score of that label, as given. It must be a log mass that was *not* normalised over the labels,
      which for one label is always 0 (score the choice's own text, or the mass of a word like ` yes`).
    - Several labels: the log-odds of the label `right` against all others, log p(right) - log(sum of the others' p).

    The probabilities of the choices are the softmax of their scores over the rows. A choice given twice is one choice.

    Attributes:
        field: where the example has its choices, a sequence of texts.
        shown: the field under which a row shows its one choice to the template.
        right: the label that says a choice is right; "" is the first.
    """

    field: str = "choices"
    shown: str = "choice"
    right: str = ""
    kind: ClassVar[str] = "choices"
    version: ClassVar[int] = 1

    def options(self, example: Example) -> tuple[str, ...]:
        """The example's choices in order, each once.

        Raises:
            DataError: the example has no such field, or it holds no texts.
        """
        if self.field not in example.fields:
            raise DataError(
                f"example `{example.key}` has no field `{self.field}` with its choices",
                hint=near(self.field, example.fields),
            )
        choices = example.fields[self.field]
        if not isinstance(choices, Sequence) or isinstance(choices, str) or not choices:
            raise DataError(f"example `{example.key}`: `{self.field}` is not a list of choices")
        return tuple(dict.fromkeys(str(choice) for choice in choices))

    def rows(self, example: Example) -> tuple[Example, ...]:
        """A row a choice: the example with the choice under `shown`; its key and target stay."""
        if self.shown in example.fields:
            raise SettingError(
                f"example `{example.key}` has a field `{self.shown}` already",
                hint="show the choice under another name: Choices(shown=...)",
            )
        return tuple(
            replace(example, fields={**example.fields, self.shown: choice}) for choice in self.options(example)
        )

    def fold(self, example: Example, scores: Any, labels: Sequence[str]) -> Answer:
        """The likeliest choice of Float[rows labels], the first of equals; the class says what a choice's score is.

        Raises:
            DataError: the scores have another shape, or one is not a number.
            SettingError: `right` is no label.
        """
        if self.right and self.right not in labels:
            raise SettingError(f"no label `{self.right}`", hint=near(self.right, labels))
        choices = self.options(example)
        right = labels.index(self.right) if self.right else 0
        table = _table(example, scores, len(choices), len(labels))
        return _answer(choices, [_log_odds(row, right) for row in table], "choice")

    def logits(self, scores: Any, labels: Sequence[str]) -> Any:
        """A choice's mass, or its log-odds."""
        right = labels.index(self.right) if self.right else 0
        others = [at for at in range(len(labels)) if at != right]
        return scores[:, right] - scores[:, others].logsumexp(-1) if others else scores[:, right]

    def config(self) -> dict[str, Any]:
        """Kind, version, and the three settings."""
        return {
            "kind": self.kind,
            "version": self.version,
            "field": self.field,
            "shown": self.shown,
            "right": self.right,
        }

    def tensors(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> "Choices":
        """The view again."""
        return cls(**{name: config[name] for name in ("field", "shown", "right") if name in config})


def view_from(config: Mapping[str, Any]) -> View:
    """The view a `config()` was taken from.

    Raises:
        ArtifactError: its kind or version isn't known here.
    """
    kinds: dict[str, type[One] | type[Choices]] = {One.kind: One, Choices.kind: Choices}
    kind, version = str(config.get("kind")), config.get("version", 1)
    if kind not in kinds:
        raise ArtifactError(f"no kind of view `{kind}`", hint=near(kind, kinds))
    if version != kinds[kind].version:
        raise ArtifactError(
            f"view `{kind}` is of version {version}, this promptatlas reads version {kinds[kind].version}",
            hint="read it with the promptatlas that wrote it",
        )
    return kinds[kind].build(config, {})


@runtime_checkable
class _Array(Protocol):
    def tolist(self) -> Any: ...


def _table(example: Example, scores: Any, rows: int, labels: int) -> list[list[float]]:
    listed = scores.tolist() if isinstance(scores, _Array) else scores
    table = [[float(score) for score in row] for row in listed]
    if len(table) != rows or any(len(row) != labels for row in table):
        widths = sorted({len(row) for row in table})
        raise DataError(
            f"example `{example.key}` has scores of {len(table)} rows by {widths} labels, not {rows} by {labels}"
        )
    if any(math.isnan(score) or score == math.inf for row in table for score in row):
        raise DataError(f"example `{example.key}` has a score that is not a number")
    return table


def _answer(names: Sequence[str], scores: Sequence[float], noun: str) -> Answer:
    most = max(scores)
    if most == -math.inf:
        even = 1 / len(names)
        return Answer(names[0], even, dict.fromkeys(names, even), why=f"no {noun} has any probability")
    masses = [1.0 if score == most else math.exp(score - most) for score in scores]  # inf - inf is no number
    total = math.fsum(masses)
    return Answer(
        names[scores.index(most)], 1 / total, {name: mass / total for name, mass in zip(names, masses, strict=True)}
    )


def _log_odds(row: Sequence[float], right: int) -> float:
    others = [score for index, score in enumerate(row) if index != right]
    if not others or row[right] == -math.inf:
        return row[right]
    most = max(others)
    if most == -math.inf:
        return math.inf
    return row[right] - most - math.log(math.fsum(math.exp(score - most) for score in others))
