"""Answers that are phrases, said whole: each scored with the end behind it, or written and looked up."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, Literal, get_args
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import SettingError, WordError, near
from promptatlas.lm.activations import ending
from promptatlas.lm.ask import Given, Query, Reading
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part
from promptatlas.text.runs import Before
from promptatlas.text.template import Template

By = Literal["sum", "mean", "trie", "write"]
Ids = tuple[int, ...]
QUOTES: Final = "\"'“”‘’„«»「」『』《》"
MORE = 8  # tokens that are written beyond those of the longest phrase: the same text may be other tokens


@dataclass(frozen=True, kw_only=True, eq=False)
class Phrases:
    """A phrase a label, that the model says whole, its end included: "Sports" is not the beginning of "Sports News".

    Attributes:
        texts: label -> its phrase.
        by: what a label's score is: "sum" of the log-probabilities of its phrase's tokens and end, or their "mean";
            "trie": at each token only those count that go on to a phrase, so that labels' probabilities sum to one. Or
            "write": the model writes, and the label is answered whose phrase that is, or none; scores are then those of
            "sum".
    """

    kind: ClassVar[str] = "phrases"
    version: ClassVar[int] = 1

    texts: Mapping[str, str]
    by: By = "sum"

    def __post_init__(self) -> None:
        """Refuse phrases that are empty, the same once normalised, or on several lines."""
        if self.by not in get_args(By):
            raise SettingError(f"`by` can't be `{self.by}`", hint=near(self.by, get_args(By)))
        if not self.texts:
            raise SettingError("there are no labels", hint="give each label a phrase")
        seen: dict[str, str] = {}
        for label, text in self.texts.items():
            if not normal(text):
                raise SettingError(f"the phrase of `{label}` is empty", hint="say in words what the label means")
            if "\n" in text:
                raise SettingError(f"the phrase of `{label}` has a line break in it", hint="say it on one line")
            other = seen.setdefault(normal(text), label)
            if other != label:
                what = f"`{other}` and `{label}` have one phrase, `{text}`"
                raise SettingError(what, hint="tell them apart by more than capitals, blanks and quotes around them")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of every score."""
        return tuple(self.texts)

    def word(self, label: str) -> str:
        """What a demonstration of this label shows: its phrase."""
        if label not in self.texts:
            raise SettingError(f"there is no label `{label}`", hint=near(label, self.texts))
        return self.texts[label]

    def match(self, written: str) -> str | None:
        """The label whose phrase this is, but for what `normal` takes away; None: it is no phrase."""
        return self._known.get(normal(written))

    def tokens(self, lm: LM, template: Template) -> tuple[Ids, ...]:
        """Each phrase's tokens in place, with the end behind them, in the order of the labels.

        Raises:
            WordError: a phrase without tokens, the same tokens twice, or a phrase that begins another where the model
                has no end to tell them apart.
        """
        if not template.slots:
            raise WordError(f"`{template}` has no slot where a phrase could stand", hint="put {mask} in it")
        before = template.before(template.slots[0])
        plans = self._plans.setdefault(lm, {})
        if before not in plans:
            plans[before] = self._tokens(lm, before)
        return plans[before]

    def queries(
        self,
        lm: LM,
        template: Template,
        example: Example,
        *,
        parts: Mapping[str, Part] | None = None,
        mass: bool = False,
    ) -> tuple[Query, ...]:
        """One a phrase, of every example the same. Raises WordError, see `tokens`."""
        masked = lm.kind == "masked"
        found = self.tokens(lm, template)
        return tuple(Query(asks=(Given(),), width=len(ids) if masked else 1, answer=ids) for ids in found)

    def fold(
        self,
        readings: Sequence[Sequence[Reading]],
        lm: LM,
        template: Template,
        parts: Mapping[str, Part],
        *,
        mass: bool = False,
    ) -> Float[Tensor, "examples labels"]:
        """The labels' scores; with `mass`, the log-probability of each whole phrase, whatever `by` says."""
        if not readings:
            return torch.zeros(0, len(self.texts))
        values = [
            torch.stack([one[at][0].values[0] for one in readings]) for at in range(len(self.texts))
        ]  # [examples, tokens] a label
        if self.by == "trie" and not mass:
            return torch.stack(among(values, self.tokens(lm, template)), -1)
        mean = self.by == "mean" and not mass
        return torch.stack([one.mean(-1) if mean else one.sum(-1) for one in values], -1)

    def config(self) -> dict[str, Any]:
        """Phrases and rule; a list, for their order is that of the scores."""
        return {"texts": [[label, text] for label, text in self.texts.items()], "by": self.by}

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Phrases":
        """The phrases again."""
        return cls(texts=dict(config["texts"]), by=config["by"])

    def __eq__(self, other: object) -> bool:
        """Equal phrases under one rule, labels in the same order."""
        return self.config() == other.config() if isinstance(other, Phrases) else NotImplemented

    def __hash__(self) -> int:
        return hash((tuple(self.texts.items()), self.by))

    @cached_property
    def _known(self) -> Mapping[str, str]:
        return {normal(text): label for label, text in self.texts.items()}

    @cached_property
    def _plans(self) -> WeakKeyDictionary[Any, dict[Before, tuple[Ids, ...]]]:
        """What was tokenised for each model; gone when the model or the phrases are."""
        return WeakKeyDictionary()

    def _tokens(self, lm: LM, before: Before) -> tuple[Ids, ...]:
        end, owner = ending(lm), dict[Ids, str]()
        for label, text in self.texts.items():
            ids = lm.word(text, before)
            if not ids:
                raise WordError(f"the phrase `{text}` has no tokens in {lm.name}", hint="say it in other words")
            other = owner.setdefault(ids + end, label)
            if other != label:
                what = f"`{self.texts[other]}` and `{text}` are the same tokens in {lm.name}"
                raise WordError(what, hint="say one of them in other words")
        for ids, label in owner.items():
            longer = next((one for one in owner if one != ids and one[: len(ids)] == ids), None)
            if longer is not None:
                what = f"`{self.texts[label]}` begins `{self.texts[owner[longer]]}`, and {lm.name} has no end to tell"
                raise WordError(what, hint="say one of them in other words")
        return tuple(owner)


def among(values: Sequence[Float[Tensor, "examples _"]], phrases: Sequence[Ids]) -> list[Float[Tensor, " examples"]]:
    """The log-probability of each phrase where at every token one of those is said that go on to a phrase.

    Args:
        values: of each phrase its tokens' log-probabilities under the whole vocabulary.
        phrases: their tokens; none is the beginning of another.

    >>> values = [torch.tensor([[0.5, 0.8]]).log(), torch.tensor([[0.5, 0.1]]).log(), torch.tensor([[0.25, 0.9]]).log()]
    >>> [round(float(one.exp()), 6) for one in among(values, [(1, 2), (1, 3), (4, 2)])]
    [0.592593, 0.074074, 0.333333]
    """
    found = []
    for own, ids in zip(values, phrases, strict=True):
        total = own.new_zeros(len(own))
        for at in range(len(ids)):
            begun = {one[at]: n for n, one in enumerate(phrases) if one[:at] == ids[:at]}  # a phrase a next token
            total = total + own[:, at] - torch.stack([values[n][:, at] for n in begun.values()]).logsumexp(0)
        found.append(total)
    return found


def normal(text: str) -> str:
    """A text as phrases are compared: NFC, no quotes or blanks around it, one blank for several, no capitals.

    >>> normal(' "World  News" ')
    'world news'
    """
    return " ".join(unicodedata.normalize("NFC", text).strip().strip(QUOTES).split()).casefold()
