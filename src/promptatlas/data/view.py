"""Views: one example as one row or many, and one answer out of their scores.

Scores are array-like of floats, Float[rows labels]: a tensor, a numpy array, lists of lists. Under `Tags` a row has a
score row for each of its items.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

from promptatlas.data.example import Example, Target
from promptatlas.data.scores import log_odds, table
from promptatlas.errors import ArtifactError, DataError, SettingError, near

OUTSIDE = "O"  # the tag of what is no part of any span


@dataclass(frozen=True)
class Answer:
    """What is answered of one example.

    Attributes:
        value: a label, choice or text (number, set, tags for tasks of those kinds); None where nothing is answered.
        confidence: the value's probability.
        probabilities: of every label or choice; of tags none.
        why: what was out of the ordinary, for people; "" mostly.
        each: of tags, the probability of every one.
        texts: of chains of reasoning, what was written.
    """

    value: Target
    confidence: float
    probabilities: Mapping[str, float] = field(default_factory=dict)
    why: str = ""
    each: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()


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
        return _answer(labels, table(example, scores, 1, len(labels))[0], "label")

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
        choices = _listed(example, self.field, "choices")
        if not choices:
            raise DataError(f"example `{example.key}`: `{self.field}` is not a list of choices")
        return tuple(dict.fromkeys(map(str, choices)))

    def rows(self, example: Example) -> tuple[Example, ...]:
        """A row a choice: the example with the choice under `shown`; its key and target stay."""
        another = "show the choice under another name: Choices(shown=...)"
        return showing(example, self.shown, self.options(example), another)

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
        rows = table(example, scores, len(choices), len(labels))
        return _answer(choices, [log_odds(row, right) for row in rows], "choice")

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


@dataclass(frozen=True)
class Tags:
    """One example is one row with a score row an item of its list; the answer is each item's likeliest label.

    Items are scored apart, so the probability of an answer is the product of its tags'. Items at the end of a list that
    a row had no room for were not read: they have no score row, and are answered `O` with probability 0.

    Attributes:
        field: where the example has its items, a sequence.
    """

    field: str = "tokens"
    kind: ClassVar[str] = "tags"
    version: ClassVar[int] = 1

    def items(self, example: Example) -> tuple[object, ...]:
        """The example's items. Raises DataError where it has no such field, or that holds no list."""
        return tuple(_listed(example, self.field, "items"))

    def rows(self, example: Example) -> tuple[Example, ...]:
        """The example itself."""
        self.items(example)
        return (example,)

    def fold(self, example: Example, scores: Any, labels: Sequence[str]) -> Answer:
        """A tag an item out of Float[items labels], the first of equals; what doesn't sum to one is brought to it.

        Raises:
            DataError: there are more scores than items, they have another width, or one is not a number.
        """
        count = len(self.items(example))
        read = [_answer(labels, row, "tag") for row in table(example, scores, min(len(scores), count), len(labels))]
        unread = count - len(read)
        why = next((one.why for one in read if one.why), "")
        if unread:
            why = f"the last {unread} of {count} items didn't fit, and are answered `{OUTSIDE}` unread"
        each = (*(one.confidence for one in read), *[0.0] * unread)
        value = (*(str(one.value) for one in read), *[OUTSIDE] * unread)
        return Answer(value, math.prod(each, start=1.0), why=why, each=each)

    def logits(self, scores: Any, labels: Sequence[str]) -> Any:
        """None: raises SettingError, for there are as many answers as ways to tag all items."""
        raise SettingError("tags are scored item by item", hint="use predict, or `prompting.items`")

    def config(self) -> dict[str, Any]:
        """Kind, version, and the field."""
        return {"kind": self.kind, "version": self.version, "field": self.field}

    def tensors(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> "Tags":
        """The view again."""
        return cls(config.get("field", "tokens"))


def showing(example: Example, name: str, texts: Iterable[str], another: str) -> tuple[Example, ...]:
    """The example with each text under this name. Raises SettingError, hint `another`: it has such a field already."""
    if name in example.fields:
        raise SettingError(f"example `{example.key}` has a field `{name}` already", hint=another)
    return tuple(replace(example, fields={**example.fields, name: text}) for text in texts)


def view_from(config: Mapping[str, Any]) -> View:
    """The view a `config()` was taken from.

    Raises:
        ArtifactError: its kind or version isn't known here.
    """
    kinds: dict[str, type[One | Choices | Tags]] = {one.kind: one for one in (One, Choices, Tags)}
    kind, version = str(config.get("kind")), config.get("version", 1)
    if kind not in kinds:
        raise ArtifactError(f"no kind of view `{kind}`", hint=near(kind, kinds))
    if version != kinds[kind].version:
        raise ArtifactError(
            f"view `{kind}` is of version {version}, this promptatlas reads version {kinds[kind].version}",
            hint="read it with the promptatlas that wrote it",
        )
    return kinds[kind].build(config, {})


def _listed(example: Example, field: str, noun: str) -> Sequence[object]:
    if field not in example.fields:
        raise DataError(
            f"example `{example.key}` has no field `{field}` with its {noun}", hint=near(field, example.fields)
        )
    listed = example.fields[field]
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise DataError(f"example `{example.key}`: `{field}` is not a list of {noun}")
    return listed


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
