"""Task: examples in splits, their labels, and how answers are measured."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args, runtime_checkable

from promptatlas.data.draw import few_shot
from promptatlas.data.example import Example, Target
from promptatlas.data.interval import Interval
from promptatlas.data.view import Choices, One, Tags, View
from promptatlas.errors import DataError, SettingError, near
from promptatlas.text.pattern import numeral

Kind = Literal["label", "labels", "number", "tags", "choice", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)

METRICS: Mapping[Kind, tuple[str, ...]] = {
    "label": ("accuracy", "macro_f1", "mcc", "micro_f1"),
    "labels": ("micro_f1", "macro_f1", "exact_match"),
    "number": ("pearson", "spearman", "mean_absolute_error"),
    "tags": ("span_f1", "span_precision", "span_recall", "accuracy"),
    "choice": ("accuracy",),
    "text": ("bleu", "chrf", "exact_match", "number_match"),
}
"""What is measured of each kind; the first is the task's metric where it names none. `number_match` is of numbers."""

SPAN_TAG = re.compile(r"O|[BIES]-.+")  # of a span's beginning, inside, end or whole; or of none


@dataclass(frozen=True, kw_only=True)
class Task:
    """Examples in splits, their labels, and how answers are measured.

    Attributes:
        name: for people; not part of `identity()`.
        kind: what a target is: one label, a set of labels, a number, a tag an item, a choice of its own, a text.
        fields: what every example has for a template to show.
        labels: every label there is, in order; the tags for "tags"; empty for "choice" and "text".
        train: labelled examples to learn from.
        dev: labelled examples to choose by.
        test: labelled examples to measure on; the same as `train` in a task read from one file, until `few` draws.
        unlabeled: examples without target.
        metric: the one to go by; "" is the kind's first in `METRICS`, or accuracy where tags aren't of spans.
        template: one to start from, unparsed.
        words: label words to start from, by label.
        none: the label that says that none of the others holds, which `micro_f1` leaves out; "" where there is none.
        description: what the task asks, in a sentence.
        low: the least a number can be.
        high: the most a number can be.
    """

    name: str
    kind: Kind
    fields: tuple[str, ...]
    labels: tuple[str, ...] = ()
    train: tuple[Example, ...] = ()
    dev: tuple[Example, ...] = ()
    test: tuple[Example, ...] = ()
    unlabeled: tuple[Example, ...] = ()
    metric: str = ""
    template: str | None = None
    words: Mapping[str, tuple[str, ...]] | None = None
    none: str = ""
    description: str = ""
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        """Check that what stands here fits together, and fill the metric in."""
        if self.kind not in KINDS:
            raise SettingError(f"no kind of task `{self.kind}`", hint=near(self.kind, KINDS))
        other = next((tag for tag in self.labels if self.kind == "tags" and not SPAN_TAG.fullmatch(tag)), None)
        if not self.metric:
            object.__setattr__(self, "metric", METRICS[self.kind][0] if other is None else "accuracy")
        if self.metric not in METRICS[self.kind]:
            raise SettingError(
                f"no metric `{self.metric}` for tasks of kind {self.kind}", hint=near(self.metric, METRICS[self.kind])
            )
        if other is not None and self.metric != "accuracy":
            hint = 'take "accuracy"; tags of spans are O, and B-, I-, E- or S- with a name'
            raise SettingError(f"`{self.metric}` counts spans, and `{self.name}` has the tag `{other}`", hint=hint)
        if self.kind == "label":
            self._check_labels()
        if self.metric == "number_match":
            self._check_numbers()
        if self.none and self.none not in self.labels:
            raise DataError(f"`none` is `{self.none}`, no label of `{self.name}`", hint=near(self.none, self.labels))
        for label in self.words or ():
            if self.labels and label not in self.labels:
                raise DataError(
                    f"words for `{label}`, which is no label of `{self.name}`", hint=near(label, self.labels)
                )

    @property
    def view(self) -> View:
        """How one example becomes rows: a row a choice where it brings its own; else one, with tags item by item.

        Numbers lie in the task's range, or where it tells none in that of its training examples.

        Raises:
            SettingError: a task of numbers without a range.
        """
        if self.kind == "number":
            seen = [one.target for one in self.train if isinstance(one.target, int | float)] or [0.0]
            return Interval(
                float(min(seen) if self.low is None else self.low), float(max(seen) if self.high is None else self.high)
            )
        return Choices() if self.kind == "choice" else Tags() if self.kind == "tags" else One()

    def few(self, k: int, seed: int, *, dev: int | None = None) -> "Task":
        """The task with few labelled examples: k of each label in `train`, or k in all where the kind isn't "label".

        The draw is one seeded shuffle of the order given, so a smaller k is part of a larger. What is left of `train`
        loses its target and is added to `unlabeled`. Keys stay; an example drawn leaves `test` where it stood there
        too (a task read from one file).

        Args:
            k: how many of each label.
            seed: of the draw.
            dev: how many of each label in `dev`, 0 for none; as many as in `train` where not told. They come from
                `dev` where the task has one, else from what is left of `train`; fewer where there are fewer.

        Raises:
            DataError: `train` has fewer than k of a label.
        """
        if k < 1:
            raise SettingError(f"k is {k}", hint="draw 1 or more")
        labels = self.labels if self.kind == "label" else ()
        train, rest = few_shot(self.train, k, seed, labels=labels)
        held, left = few_shot(self.dev or rest, k if dev is None else dev, seed, labels=labels, lenient=True)
        if not self.dev:
            rest = left
        shown = {example.key for example in train + held} - {""}
        return replace(
            self,
            train=train,
            dev=held,
            test=tuple(example for example in self.test if example.key not in shown),
            unlabeled=self.unlabeled + tuple(replace(example, target=None) for example in rest),
        )

    def identity(self) -> str:
        """A hash of the content: kind, labels, range and every example's fields and target, by split and in order.

        A value that isn't JSON counts by its bytes where it has `tobytes` (arrays, images), else by its type only.
        """
        content = [self.kind, list(self.labels), list(self.fields), self.low, self.high]
        hashed = hashlib.sha256(_json(content))
        for split in (self.train, self.dev, self.test, self.unlabeled):
            hashed.update(b"\x1d")
            for example in split:
                hashed.update(_json([dict(example.fields), _plain(example.target)]) + b"\x1e")
        return hashed.hexdigest()

    def _check_numbers(self) -> None:
        for example in self.train + self.dev + self.test:
            for text in example.target if isinstance(example.target, tuple) else (str(example.target),):
                if numeral(text) is None:
                    raise DataError(
                        f"`{self.metric}` is of numbers, and example `{example.key}` of `{self.name}` has `{text}`",
                        hint='take "exact_match"',
                    )

    def _check_labels(self) -> None:
        if len(set(self.labels)) < 2 or len(set(self.labels)) < len(self.labels):
            raise DataError(f"labels of `{self.name}` are {quoted(self.labels)}", hint="two or more, each once")
        known = set(self.labels)
        for example in self.train + self.dev + self.test:
            if example.target not in known:
                raise DataError(
                    f"example `{example.key}` of `{self.name}` has the label `{example.target}`, "
                    f"not one of {quoted(self.labels)}",
                    hint=near(str(example.target), self.labels),
                )


def quoted(names: Iterable[str]) -> str:
    """The names as messages show them: `a`, `b`."""
    return ", ".join(f"`{name}`" for name in names) or "none"


@runtime_checkable
class _Bytes(Protocol):
    def tobytes(self) -> bytes: ...


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_stand_in).encode("utf-8", "surrogatepass")


def _stand_in(value: object) -> object:
    if isinstance(value, frozenset | set):
        return sorted(value, key=repr)
    kind = type(value).__qualname__
    return [kind, hashlib.sha256(value.tobytes()).hexdigest()] if isinstance(value, _Bytes) else [kind]


def _plain(target: Target) -> object:
    return ["set", *sorted(target)] if isinstance(target, frozenset) else target
