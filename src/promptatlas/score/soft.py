"""Labels without words: a classifier over states, and learned rows in place of words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import CannotAttach, SettingError, WordError, near
from promptatlas.lm.ask import Against, Hidden, Query, Reading, Tokens
from promptatlas.lm.lm import LM, Kind
from promptatlas.lm.site import Part
from promptatlas.parts import head
from promptatlas.score.inplace import tokens_in_place
from promptatlas.score.words import Words
from promptatlas.text.template import Template

Pool = Literal["first", "last", "mean", "slot", "each"]

AMONG = ("labels", "vocabulary")
EACH = "write {tokens:each} where the items of a list are to be read"

# the state that stands for a whole text: the mean where all states see it, else the one that has seen it all
POOLS: Mapping[Kind, Pool] = {"masked": "mean", "causal": "last", "seq2seq": "mean"}


class HeadPart(Part, Protocol):
    """Label logits out of states."""

    def __call__(self, states: Float[Tensor, "rows hidden"]) -> Float[Tensor, "rows labels"]:
        """A logit a label."""


class RowsPart(Part, Protocol):
    """A row of the output projection a label."""

    weight: Float[Tensor, "labels head"]
    bias: Float[Tensor, " labels"] | None


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Labels read off states by a head, the usual way to fine-tune; the template needs no slot.

    Attributes:
        labels: in the order of the head's rows.
        pool: which state: of the "first" or the "last" token, the "mean" over tokens, or that at the "slot"; or "each":
            that at the first piece of every item of `{tokens:each}`, each with a score row of its own (a causal
            model has heard nothing there of what follows).
        layers: whose states, side by side; -1 is the last.
        part: the head's name among the prompt's parts.
    """

    kind: ClassVar[str] = "classifier"
    version: ClassVar[int] = 1

    labels: tuple[str, ...]
    pool: Pool = "first"
    layers: tuple[int, ...] = (-1,)
    part: str = "head"

    def __post_init__(self) -> None:
        """Refuse labels that can't be told apart, and pools there aren't."""
        _distinct(self.labels)
        if self.pool not in get_args(Pool):
            raise SettingError(f"`pool` can't be `{self.pool}`", hint=near(self.pool, get_args(Pool)))

    def word(self, label: str) -> str:
        """What a demonstration of this label shows: the label."""
        return _label(label, self.labels)

    def queries(
        self,
        lm: LM,
        template: Template,
        example: Example,
        *,
        parts: Mapping[str, Part] | None = None,
        mass: bool = False,
    ) -> tuple[Query, ...]:
        """The pooled state, or the states at items. Raises SettingError where the template shows no items."""
        if self.pool != "each":
            return (Query(asks=(Hidden(self.layers, self.pool),)),)
        if not template.has_each:
            raise SettingError(f"labels are read at each item, and `{template}` shows none", hint=EACH)
        return (Query(asks=(Hidden(self.layers, "slot"),)),)

    def fold(
        self,
        readings: Sequence[Sequence[Reading]],
        lm: LM,
        template: Template,
        parts: Mapping[str, Part],
        *,
        mass: bool = False,
    ) -> Float[Tensor, "rows labels"]:
        """The head's logits; with `mass` log-probabilities over the labels, which are all there is.

        A row an example; of "each" a row an item that was read, those of an example behind those of the one before.
        """
        if not readings:
            return torch.zeros(0, len(self.labels))
        head = cast(HeadPart, _part(self.part, parts))
        each = self.pool == "each"
        states = torch.cat([reading[0].values for (reading,) in readings]) if each else _one_slot(readings)
        return _scores(head(states), self.labels, self.part, mass=mass)

    def config(self) -> dict[str, Any]:
        """Its fields."""
        return {"labels": list(self.labels), "pool": self.pool, "layers": list(self.layers), "part": self.part}

    def tensors(self) -> Mapping[str, Tensor]:
        """None: the head is a part of the prompt."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Classifier":
        """The classifier again."""
        return cls(
            labels=tuple(config["labels"]), pool=config["pool"], layers=tuple(config["layers"]), part=config["part"]
        )


@dataclass(frozen=True, kw_only=True)
class LabelVectors:
    """Labels as learned rows of the output projection, read at the slot through the model's own head.

    Attributes:
        labels: in the order of the rows.
        part: the rows' name among the prompt's parts.
        among: what a label's mass is a share of: the "labels", or the "vocabulary" and the labels, as if each row were
            one more word of it.
    """

    kind: ClassVar[str] = "label_vectors"
    version: ClassVar[int] = 1

    labels: tuple[str, ...]
    part: str = "label_vectors"
    among: Literal["labels", "vocabulary"] = "labels"

    def __post_init__(self) -> None:
        """Refuse labels that can't be told apart."""
        _distinct(self.labels)
        if self.among not in AMONG:
            raise SettingError(f"`among` can't be `{self.among}`", hint=near(self.among, AMONG))

    def word(self, label: str) -> str:
        """What a demonstration of this label shows: the label."""
        return _label(label, self.labels)

    def queries(
        self,
        lm: LM,
        template: Template,
        example: Example,
        *,
        parts: Mapping[str, Part] | None = None,
        mass: bool = False,
    ) -> tuple[Query, ...]:
        """The rows, in place of the vocabulary's.

        Raises:
            SettingError: the part isn't among `parts`.
            CannotAttach: it was learned on a model of another width.
        """
        rows = cast(RowsPart, _part(self.part, parts or {}))
        if rows.weight.shape[1] != lm.head:
            raise CannotAttach(
                f"label vectors {rows.weight.shape[1]} wide don't fit {lm.name}, whose outputs are {lm.head} wide",
                hint="they were learned on another model",
            )
        rest = (Tokens((0,), mass=True),) if mass and self.among == "vocabulary" else ()  # for the vocabulary's sum
        return (Query(asks=(Against(rows.weight, rows.bias), *rest)),)

    def fold(
        self,
        readings: Sequence[Sequence[Reading]],
        lm: LM,
        template: Template,
        parts: Mapping[str, Part],
        *,
        mass: bool = False,
    ) -> Float[Tensor, "examples labels"]:
        """The rows' logits; with `mass` log-probabilities over what `among` says."""
        if not readings:
            return torch.zeros(0, len(self.labels))
        logits = _one_slot(readings)
        if not mass or self.among == "labels":
            return _scores(logits, self.labels, self.part, mass=mass)
        words = torch.stack([cast(Tensor, reading[1].total) for (reading,) in readings])  # [examples, 1]
        whole = torch.logaddexp(logits.logsumexp(-1, keepdim=True), words)
        return _scores(logits, self.labels, self.part, mass=False) - whole

    def config(self) -> dict[str, Any]:
        """Its fields."""
        return {"labels": list(self.labels), "part": self.part, "among": self.among}

    def tensors(self) -> Mapping[str, Tensor]:
        """None: the rows are a part of the prompt."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "LabelVectors":
        """The label vectors again; those saved before there was a choice are a share of the labels."""
        return cls(labels=tuple(config["labels"]), part=config["part"], among=config.get("among", "labels"))


def rows_of(words: object, lm: LM, template: Template, *, single: bool) -> head.LabelVectors:
    """Rows to start label vectors from: the mean over the tokens of each label's words where they stand.

    Args:
        words: what the prompt has for its labels.
        lm: the model.
        template: with one slot.
        single: refuse words of several tokens. Where every word is one token, the rows score as the words do.

    Raises:
        SettingError: these are no label words.
        WordError: a word that can't be read.
    """
    if not isinstance(words, Words):
        raise SettingError("this prompt has no label words to start label vectors from", hint="give each label a word")
    before = template.before(template.slots[0])
    tokens = tokens_in_place(words.words, lm, before, single=single, first=False)
    return head.of_rows(lm, [[one for ids in tokens[label] for one in ids] for label in words.labels])


def _distinct(labels: Sequence[str]) -> None:
    if not labels:
        raise SettingError("there are no labels", hint="give them in the order of the part's rows")
    twice = next((label for at, label in enumerate(labels) if label in labels[:at]), None)
    if twice is not None:
        raise SettingError(f"label `{twice}` is there twice", hint="give each label once")


def _label(label: str, labels: Sequence[str]) -> str:
    if label not in labels:
        raise SettingError(f"there is no label `{label}`", hint=near(label, labels))
    return label


def _part(name: str, parts: Mapping[str, Part]) -> Part:
    if name not in parts:
        raise SettingError(
            f"labels are read by the part `{name}`, which the prompt does not have", hint=near(name, parts)
        )
    return parts[name]


def _one_slot(readings: Sequence[Sequence[Reading]]) -> Float[Tensor, "examples width"]:
    """What was read of each example, at its one place."""
    values = torch.stack([reading[0].values for (reading,) in readings])  # [examples, slots, width]
    if values.shape[1] != 1:
        slots = values.shape[1]
        raise WordError(f"labels are read at one slot, and the template has {slots}", hint="leave one {mask} in it")
    return values[:, 0]


def _scores(
    logits: Float[Tensor, "rows asked"], labels: Sequence[str], part: str, *, mass: bool
) -> Float[Tensor, "rows labels"]:
    if logits.shape[1] != len(labels):
        raise SettingError(f"the part `{part}` scores {logits.shape[1]} labels, and the prompt has {len(labels)}")
    return logits.log_softmax(-1) if mass else logits
