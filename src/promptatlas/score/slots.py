"""Label words at several slots: a label is a word at each, and its score is what the model says of all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import SettingError, WordError, near
from promptatlas.lm.ask import Query, Reading, Tokens
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part
from promptatlas.score.inplace import token_in_place
from promptatlas.score.plan import total_of
from promptatlas.score.words import Words
from promptatlas.text.compose import Rule, phrases, spelled
from promptatlas.text.template import Template


@dataclass(frozen=True, eq=False)
class _Plan:
    """What one model is asked at the slots of one template.

    Attributes:
        ids: the tokens asked for at every slot.
        columns: of each slot, where its candidates stand among `ids`.
        places: of each label, where its word stands among the candidates of each slot.
    """

    ids: tuple[int, ...]
    columns: tuple[Int[Tensor, " _"], ...]
    places: Int[Tensor, "labels slots"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SlotWords:
    """A word a slot for each label; every word is one token where it stands.

    A slot's candidates are the words that labels have there, each once. A label's score is the sum over slots of the
    log-probability of its word among the candidates of the slot: the probability that all of it is said, up to what all
    labels share (Han et al. 2021, arXiv:2105.11259, sec. 3.3).

    Attributes:
        words: label -> its words, in the order of the template's slots.
    """

    kind: ClassVar[str] = "slot_words"
    version: ClassVar[int] = 1

    words: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        """Refuse what no model could tell apart.

        Raises:
            WordError: no labels, an empty word, labels with more words than others, two with the same.
        """
        if not self.words:
            raise WordError("there are no labels", hint="give each label a word a slot")
        owner: dict[tuple[str, ...], str] = {}
        first, count = next((label, len(some)) for label, some in self.words.items())
        for label, some in self.words.items():
            if not some or not all(word.strip() for word in some):
                raise WordError(f"label `{label}` has a slot without a word", hint="give it a word a slot")
            if len(some) != count:
                what = f"label `{first}` has {count} words and label `{label}` has {len(some)}: {_shown(some)}"
                raise WordError(what, hint="give every label a word a slot")
            if owner.setdefault(some, label) != label:
                what = f"labels `{owner[some]}` and `{label}` have the same words: {_shown(some)}"
                raise WordError(what, hint="another word at one slot tells them apart")

    @classmethod
    def of(cls, rules: Mapping[str, Rule]) -> "SlotWords":
        """Words out of rules; see `text.compose.Rules`.

        >>> SlotWords.of({"born": ("person", "born in"), "owns": "company owner of"}).words["owns"]
        ('company', 'owner', 'of')
        """
        return cls(words={label: spelled(some) for label, some in phrases(rules).items()})

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of every score."""
        return tuple(self.words)

    @property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        """The words labels have at each slot, each once: what the table of rules comes to."""
        return tuple(tuple(dict.fromkeys(some)) for some in zip(*self.words.values(), strict=True))

    def word(self, label: str) -> tuple[str, ...]:
        """What a demonstration of this label shows: a word a slot."""
        if label not in self.words:
            raise SettingError(f"there is no label `{label}`", hint=near(label, self.words))
        return self.words[label]

    def check(self, template: Template) -> None:
        """Raise WordError unless the template has a slot a word."""
        count = len(next(iter(self.words.values())))
        if len(template.slots) != count:
            what = f"labels have {count} words each, and `{template}` has {len(template.slots)} slots"
            raise WordError(what, hint="give every label a word a slot")

    def queries(
        self,
        lm: LM,
        template: Template,
        example: Example,
        *,
        parts: Mapping[str, Part] | None = None,
        mass: bool = False,
    ) -> tuple[Query, ...]:
        """One pass, whatever the slots.

        Raises:
            WordError: a word that isn't one token, two labels that are the same tokens, or another number of slots.
        """
        return (Query(asks=(Tokens(self._plan(lm, template).ids, mass=mass),)),)

    def fold(
        self,
        readings: Sequence[Sequence[Reading]],
        lm: LM,
        template: Template,
        parts: Mapping[str, Part],
        *,
        mass: bool = False,
    ) -> Float[Tensor, "examples labels"]:
        """Log mass of each label: the sum over slots of what its words have among the candidates, or in the vocabulary.

        Args:
            readings: of each example, the one query's.
            lm: the model they came from.
            template: as in `queries`.
            parts: not looked at.
            mass: as in `queries`; what comes out is then a log-probability under the vocabulary.
        """
        if not readings:
            return torch.zeros(0, len(self.words))
        return self.whole(self.at_slots(readings, lm, template, mass=mass), lm, template)

    def at_slots(
        self, readings: Sequence[Sequence[Reading]], lm: LM, template: Template, *, mass: bool = False
    ) -> list[Float[Tensor, "examples _"]]:
        """Log-probabilities of each slot's candidates: among each other or, with `mass`, under the vocabulary."""
        made = self._plan(lm, template)
        logits = torch.stack([reading[0].values for (reading,) in readings])  # [examples, slots, asked]
        if mass:
            logits = logits - torch.stack([total_of(reading) for (reading,) in readings])[..., None]
        some = [logits[:, slot, column.to(logits.device)] for slot, column in enumerate(made.columns)]
        return some if mass else [one.log_softmax(-1) for one in some]

    def whole(
        self, slots: Sequence[Float[Tensor, "examples _"]], lm: LM, template: Template
    ) -> Float[Tensor, "examples labels"]:
        """The sum over slots of what each label's word has there."""
        places = self.places(lm, template).to(slots[0].device)
        scores = [one[:, places[:, slot]] for slot, one in enumerate(slots)]
        return torch.stack(scores).sum(0)

    def places(self, lm: LM, template: Template) -> Int[Tensor, "labels slots"]:
        """Where each label's word stands among the candidates of each slot."""
        return self._plan(lm, template).places

    def config(self) -> dict[str, Any]:
        """The words."""
        return {"words": {label: list(some) for label, some in self.words.items()}}

    def tensors(self) -> Mapping[str, Tensor]:
        """None: words are found, not learned."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "SlotWords":
        """The words again."""
        return cls(words={label: tuple(some) for label, some in config["words"].items()})

    def __eq__(self, other: object) -> bool:
        """Equal words, labels in the same order."""
        return self._key == other._key if isinstance(other, SlotWords) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple[object, ...]:
        return tuple(self.words.items())

    @cached_property
    def _plans(self) -> WeakKeyDictionary[Any, dict[Template, _Plan]]:
        """What was worked out for each model; gone when the model or the words are."""
        return WeakKeyDictionary()

    def _plan(self, lm: LM, template: Template) -> _Plan:
        plans = self._plans.setdefault(lm, {})
        if template not in plans:
            self.check(template)
            plans[template] = _planned(self.words, lm, template)
        return plans[template]


def _planned(words: Mapping[str, tuple[str, ...]], lm: LM, template: Template) -> _Plan:
    """Tokens, columns and places; words that are the same token are one candidate."""
    tokens = {
        label: tuple(
            token_in_place(word, label, lm, template.before(slot))
            for word, slot in zip(some, template.slots, strict=True)
        )
        for label, some in words.items()
    }
    owner: dict[tuple[int, ...], str] = {}
    for label, some in tokens.items():
        if owner.setdefault(some, label) != label:
            what = f"the words of labels `{owner[some]}` and `{label}` are the same tokens in {lm.name}"
            raise WordError(f"{what}: {_shown(lm.pieces(some))}", hint="another word at one slot tells them apart")
    candidates = [tuple(dict.fromkeys(some)) for some in zip(*tokens.values(), strict=True)]
    ids = tuple(dict.fromkeys(one for some in candidates for one in some))
    columns = tuple(torch.tensor([ids.index(one) for one in some]) for some in candidates)
    places = [[some.index(one) for one, some in zip(mine, candidates, strict=True)] for mine in tokens.values()]
    return _Plan(ids, columns, torch.tensor(places))


def slotted(words: object) -> SlotWords:
    """Words at several slots; label words at one slot are such at one.

    Raises:
        SettingError: these are no label words.
        WordError: a label with several words for one slot.
    """
    if isinstance(words, SlotWords):
        return words
    if not isinstance(words, Words):
        raise SettingError("this prompt has no label words to stand at slots", hint="give each label a word a slot")
    for label, some in words.words.items():
        if len(some) > 1:
            what = f"label `{label}` has {len(some)} words for one slot: {_shown(some)}"
            raise WordError(what, hint="leave it one, or give the template a slot a word")
    return SlotWords(words=words.words)


def _shown(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
