"""Answers that each example brings itself: the choice's own text at the slot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import DataError, WordError, near
from promptatlas.lm.ask import Given, Order, Query, Reading
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part
from promptatlas.text.template import Template


@dataclass(frozen=True, kw_only=True)
class Own:
    """Scores the text a row holds in one field, as what the model would write at the slot.

    There is one label, "", whose mass is the text's log-probability; the `Choices` view compares rows. In a masked
    model the text stands in as many masks as it has tokens.

    Attributes:
        field: where a row has its text.
        over_tokens: "sum" of the tokens' log-probabilities, or their "mean" (Brown et al. 2020, arXiv:2005.14165).
        several: how a masked model reads texts of several tokens: "parallel", all in one pass; "confident" or
            "left_to_right", the masks filled one after another, the likeliest or the leftmost first (Schick & Schütze
            2021, arXiv:2009.07118).
    """

    field: str = "choice"
    over_tokens: Literal["sum", "mean"] = "sum"
    several: Order = "parallel"

    kind: ClassVar[str] = "own"
    version: ClassVar[int] = 1
    labels: ClassVar[tuple[str, ...]] = ("",)

    def word(self, label: str) -> str:
        """What a demonstration shows: its target, which is the right choice's text."""
        return label

    def queries(
        self,
        lm: LM,
        template: Template,
        example: Example,
        *,
        parts: Mapping[str, Part] | None = None,
        mass: bool = False,
    ) -> tuple[Query, ...]:
        """The text's tokens in place.

        Raises:
            DataError: a row without the field.
            WordError: a text without tokens, or nowhere to put it.
        """
        if not template.slots:
            hint = "put {mask} in it; for tags, fit a method that trains a head first"
            raise WordError(f"`{template}` has no slot where an answer's text could stand", hint=hint)
        if self.field not in example.fields:
            raise DataError(
                f"example `{example.key}` has no field `{self.field}` to score", hint=near(self.field, example.fields)
            )
        text = str(example.fields[self.field])
        ids = lm.word(text, template.before(template.slots[0]))
        if not ids:
            raise WordError(
                f"the choice `{text}` of example `{example.key}` has no tokens in {lm.name}", hint="leave it out"
            )
        width = len(ids) if lm.kind == "masked" else 1
        return (Query(asks=(Given(),), width=width, answer=ids, order=self.several),)

    def fold(
        self,
        readings: Sequence[Sequence[Reading]],
        lm: LM,
        template: Template,
        parts: Mapping[str, Part],
        *,
        mass: bool = False,
    ) -> Float[Tensor, "examples labels"]:
        """A log-probability an example."""
        values = [reading[0].values[0] for (reading,) in readings]  # [answer] each
        folded = [one.mean() if self.over_tokens == "mean" else one.sum() for one in values]
        return torch.stack(folded)[:, None] if folded else torch.zeros(0, 1)

    def config(self) -> dict[str, Any]:
        """Its fields."""
        return {"field": self.field, "over_tokens": self.over_tokens, "several": self.several}

    def tensors(self) -> Mapping[str, Tensor]:
        """None."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Own":
        """The verbalizer again."""
        return cls(**config)
