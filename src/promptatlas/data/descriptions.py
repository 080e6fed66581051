"""Descriptions: each label as a sentence, and the question whether it follows from the example."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from promptatlas.data.example import Example
from promptatlas.data.view import Answer, Choices, One, Tags, View, showing
from promptatlas.errors import SettingError, near


@dataclass(frozen=True)
class Descriptions:
    """Each label has a description; the answer is the label whose description is likeliest to follow.

    An example is a row a label, that shows the label's description. A row's score is the log-odds of the word or head
    label `right` ("it follows") against all others, whatever they are. The labels' probabilities are the softmax of
    their scores.

    Of two labels one alone may have a description: an example is then one row, and the other label is answered where
    that description doesn't follow. An empty one is allowed there: what may follow is then a text of the example's own,
    as of a pair of sentences.

    Attributes:
        labels: the task's, in the order of the scores.
        texts: label -> its description: of all of them, or of one of two.
        shown: the field under which a row shows its description to the template.
        right: what the prompt's words or head call "it follows"; "" is the first.
    """

    labels: tuple[str, ...]
    texts: Mapping[str, str]
    shown: str = "description"
    right: str = ""
    kind: ClassVar[str] = "descriptions"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse descriptions that are missing, empty or the same."""
        for label in self.texts:
            if label not in self.labels:
                raise SettingError(f"a description for `{label}`, which is no label", hint=near(label, self.labels))
        if len(self.labels) < 2:
            raise SettingError(f"descriptions of {len(self.labels)} label", hint="there is nothing to choose from")
        missing = [label for label in self.labels if label not in self.texts]
        if len(missing) > 1 or (missing and len(self.labels) > 2):
            raise SettingError(
                f"the label `{missing[0]}` has no description", hint="describe every label, or one of two"
            )
        seen: dict[str, str] = {}
        for label, text in self.texts.items():
            if not text.strip() and not missing:
                raise SettingError(f"the description of `{label}` is empty", hint="say in words what the label means")
            other = seen.setdefault(text.strip(), label)
            if other != label:
                raise SettingError(f"`{other}` and `{label}` have one description, `{text}`", hint="tell them apart")
        object.__setattr__(self, "texts", {label: self.texts[label] for label in self.labels if label in self.texts})

    @property
    def described(self) -> tuple[str, ...]:
        """The labels that are rows, in order."""
        return tuple(self.texts)

    def rows(self, example: Example) -> tuple[Example, ...]:
        """A row a description: the example with it under `shown`; its key and target stay."""
        another = "show the description under another name: Descriptions(shown=...)"
        return showing(example, self.shown, self.texts.values(), another)

    def fold(self, example: Example, scores: Any, labels: Sequence[str]) -> Answer:
        """The label whose description follows likeliest, the first of equals; of one alone, whether it does.

        Raises:
            DataError: the scores have another shape, or one is not a number.
            SettingError: `right` is no label of the words or the head.
        """
        if len(self.described) == len(self.labels):
            rows = Example({"choices": self.labels}, key=example.key)
            return Choices(right=self.right).fold(rows, scores, labels)
        right = self.right or labels[0]
        if right not in labels:
            raise SettingError(f"no label `{right}`", hint=near(right, labels))
        follows = One().fold(example, scores, labels).probabilities[right]
        shares = {label: follows if label in self.texts else 1 - follows for label in self.labels}
        value = max(shares, key=shares.__getitem__)
        return Answer(value, shares[value], shares)

    def odds(self, scores: Any, labels: Sequence[str]) -> Any:
        """Float[rows] out of a tensor Float[rows labels]: the log-odds that each row's description follows."""
        return Choices(right=self.right).logits(scores, labels)

    def logits(self, scores: Any, labels: Sequence[str]) -> Any:
        """The log-odds of each row; of one row alone, against nought for the label that isn't described."""
        odds = self.odds(scores, labels)
        if len(self.described) == len(self.labels):
            return odds
        return odds * odds.new_tensor([float(label in self.texts) for label in self.labels])

    def config(self) -> dict[str, Any]:
        """Kind, version, and the four settings."""
        return {
            "kind": self.kind,
            "version": self.version,
            "labels": list(self.labels),
            "texts": dict(self.texts),
            "shown": self.shown,
            "right": self.right,
        }

    def tensors(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> "Descriptions":
        """The view again."""
        return cls(tuple(config["labels"]), config["texts"], config["shown"], config["right"])


def labelled(view: View, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels that are answered under words of these labels; none where each example brings its own choices."""
    if isinstance(view, Descriptions):
        return view.labels
    return labels if isinstance(view, One | Tags) else ()


def added(view: View) -> frozenset[str]:
    """The fields a view itself adds to its rows."""
    return frozenset({view.shown} if isinstance(view, Choices | Descriptions) else ())
