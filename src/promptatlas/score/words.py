"""Label words: what is asked at the slot, and label scores folded out of the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import SettingError, WordError, near
from promptatlas.lm.ask import Query, Reading
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part
from promptatlas.score.inplace import Ids, check_weights, check_words, tokens_in_place
from promptatlas.score.plan import Plan, Several, plan
from promptatlas.text.runs import Before
from promptatlas.text.template import Template

OverWords = Literal["mean_logit", "sum_prob"]
OverTokens = Literal["sum", "mean", "first"]
Normaliser = Literal["labels", "vocabulary"]
ONE_SLOT = "put one {mask} where the word belongs"


@dataclass(frozen=True, kw_only=True, eq=False)
class Words:
    """Label words: a label's score is made of what the model says of its words at the slot.

    Where every word is one token, one pass reads them all. A word of several tokens is read whole: in a masked model in
    as many masks as it has tokens, in the others token after token; all is then folded in log-probabilities. Such words
    compare only under the rules that `over_tokens` and `several` state. Words that are the same tokens count once in a
    label, and can't stand for two labels.

    Attributes:
        words: label -> its words.
        over_words: a label's score out of its words': "mean_logit", the mean of their logits (of their
            log-probabilities, where those are folded), or "sum_prob", the log of their probabilities' sum.
        over_tokens: a word's score out of its tokens' log-probabilities: "sum", "mean" (which is no probability
            of the word), or "first", where no more than the first token is read.
        normaliser: "labels" folds plain logits where every word is one token; "vocabulary" always folds
            log-probabilities.
        weights: label -> a weight a word; None weighs all the same. Under "sum_prob" they multiply probabilities.
        single: refuse words of several tokens.
        several: how a masked model reads words of several tokens: "parallel", each in as many masks as it has tokens,
            all in one pass; "confident" or "left_to_right", the masks filled one after another, the likeliest or the
            leftmost first, a pass a token; "widest", in one pass too, every word in the masks of the longest, which is
            for training (all four: Schick & Schütze 2021, arXiv:2009.07118).
    """

    kind: ClassVar[str] = "words"
    version: ClassVar[int] = 1

    words: Mapping[str, tuple[str, ...]]
    over_words: OverWords = "mean_logit"
    over_tokens: OverTokens = "sum"
    normaliser: Normaliser = "labels"
    weights: Mapping[str, tuple[float, ...]] | None = None
    single: bool = False
    several: Several = "parallel"

    def __post_init__(self) -> None:
        """Refuse what no model could read."""
        _known("over_words", self.over_words, get_args(OverWords))
        _known("over_tokens", self.over_tokens, get_args(OverTokens))
        _known("normaliser", self.normaliser, get_args(Normaliser))
        _known("several", self.several, get_args(Several))
        check_words(self.words)
        if self.weights is not None:
            check_weights(self.words, self.weights)

    @classmethod
    def of(
        cls,
        words: Mapping[str, str | Sequence[str]],
        *,
        over_words: OverWords = "mean_logit",
        over_tokens: OverTokens = "sum",
        normaliser: Normaliser = "labels",
        weights: Mapping[str, Sequence[float]] | None = None,
        single: bool = False,
        several: Several = "parallel",
    ) -> "Words":
        """Words given as a word or a list of words a label.

        >>> Words.of({"positive": "great", "negative": ["bad", "awful"]}).words
        {'positive': ('great',), 'negative': ('bad', 'awful')}
        """
        return cls(
            words={label: (some,) if isinstance(some, str) else tuple(some) for label, some in words.items()},
            over_words=over_words,
            over_tokens=over_tokens,
            normaliser=normaliser,
            weights=None if weights is None else {label: tuple(map(float, some)) for label, some in weights.items()},
            single=single,
            several=several,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of every score."""
        return tuple(self.words)

    def word(self, label: str) -> str:
        """What a demonstration of this label shows: its first word."""
        if label not in self.words:
            raise SettingError(f"there is no label `{label}`", hint=near(label, self.words))
        return self.words[label][0]

    def tokens(self, lm: LM, template: Template) -> Mapping[str, tuple[Ids, ...]]:
        """Label -> the tokens of each of its words at the template's slot (the first one, where no more is read).

        Raises:
            WordError: a word that can't be read, or two labels whose words are the same tokens.
        """
        return self._plan(lm, template).tokens

    def queries(
        self,
        lm: LM,
        template: Template,
        example: Example,
        *,
        parts: Mapping[str, Part] | None = None,
        mass: bool = False,
    ) -> tuple[Query, ...]:
        """What is asked, of every example the same; with `mass`, so that `fold` can tell probabilities.

        Raises:
            WordError: a word that can't be read, or two labels whose words are the same tokens.
        """
        made = self._plan(lm, template)
        return made.massed if self._massed(made, mass) else made.raw

    def fold(
        self,
        readings: Sequence[Sequence[Reading]],
        lm: LM,
        template: Template,
        parts: Mapping[str, Part],
        *,
        mass: bool = False,
    ) -> Float[Tensor, "examples labels"]:
        """Log mass of each label, not normalised over labels.

        Args:
            readings: of each example, a reading a query.
            lm: the model they came from.
            template: as in `queries`.
            parts: not looked at.
            mass: as in `queries`; what comes out is then a log-probability under the vocabulary.
        """
        if not readings:
            return torch.zeros(0, len(self.words))
        made = self._plan(lm, template)
        massed, mean = self._massed(made, mass), self.over_tokens == "mean"
        scores = [
            block.scores([one[at] for one in readings], mass=massed, mean=mean) for at, block in enumerate(made.blocks)
        ]
        return self._over_words(torch.cat(scores, -1), made)

    def config(self) -> dict[str, Any]:
        """Words and rules."""
        return {
            "words": {label: list(some) for label, some in self.words.items()},
            "over_words": self.over_words,
            "over_tokens": self.over_tokens,
            "normaliser": self.normaliser,
            "weights": None if self.weights is None else {label: list(some) for label, some in self.weights.items()},
            "single": self.single,
            "several": self.several,
        }

    def tensors(self) -> Mapping[str, Tensor]:
        """None: words are found, not learned."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Words":
        """The words again."""
        return cls.of(**config)

    def __eq__(self, other: object) -> bool:
        """Equal words under equal rules, labels in the same order."""
        return self._key == other._key if isinstance(other, Words) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple[object, ...]:
        weights = None if self.weights is None else tuple(self.weights[label] for label in self.words)
        rules = self.over_words, self.over_tokens, self.normaliser, self.single, self.several
        return tuple(self.words.items()), weights, rules

    @cached_property
    def _plans(self) -> WeakKeyDictionary[Any, dict[Before, Plan]]:
        """What was worked out for each model; gone when the model or the words are."""
        return WeakKeyDictionary()

    def _plan(self, lm: LM, template: Template) -> Plan:
        if len(template.slots) != 1:
            raise WordError(
                f"label words are read at one slot, and `{template}` has {len(template.slots)}", hint=ONE_SLOT
            )
        before = template.before(template.slots[0])
        plans = self._plans.setdefault(lm, {})
        if before not in plans:
            found = tokens_in_place(self.words, lm, before, single=self.single, first=self.over_tokens == "first")
            plans[before] = plan(found, self.weights, lm.kind, self.several)
        return plans[before]

    def _massed(self, made: Plan, mass: bool) -> bool:
        """Whether log-probabilities are folded. Words of several tokens have no logit of their own."""
        return mass or self.normaliser == "vocabulary" or not made.one_token

    def _over_words(self, scores: Float[Tensor, "examples words"], made: Plan) -> Float[Tensor, "examples labels"]:
        place, weights = made.place.to(scores.device), made.weights.to(scores.device)
        there = place >= 0
        values = scores[:, place.clamp(min=0)]  # [examples, labels, most words]
        if self.over_words == "sum_prob":
            return (values + weights.log()).masked_fill(~there, -torch.inf).logsumexp(-1)
        counted = torch.where(
            there & (weights > 0), values, 0.0
        )  # not 0 * -inf where a word of no weight is impossible
        return (counted * weights).sum(-1) / weights.sum(-1)


def _known(name: str, value: str, values: Sequence[str]) -> None:
    if value not in values:
        raise SettingError(f"`{name}` can't be `{value}`", hint=near(value, values))
