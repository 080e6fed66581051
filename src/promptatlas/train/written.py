"""The loss of a text to be written at the slot: label words or whole answers, token by token, under the vocabulary."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import DataError, SettingError
from promptatlas.lm.activations import ending
from promptatlas.lm.ask import Given, Job, Reading, Tokens
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.prompting import Prompt
from promptatlas.prompting.writing import lines_of
from promptatlas.train.loss import Batch

Over = Literal["sum", "mean"]


@dataclass(frozen=True, kw_only=True)
class Written:
    """Minus the log-probability of what an example's target is written as, under the whole vocabulary.

    A label is written as its first word, anything else as the text of its target, followed, where `end`, by the token
    that ends what the model writes. Only the target's tokens count (teacher forcing; the source has no loss).

    Attributes:
        over: the "sum" over the target's tokens (Li & Liang 2021, released code's mode 1) or their "mean".
        z: of the z-loss, the squared log-sum of the logits (prompt tuning's code: 1e-4). differs: it is taken at the
            first token of the target; a masked model's is summed over its masks.
        end: whether a text's end is learned too; never a label's, whose words are scored without one.
    """

    over: Over = "sum"
    z: float = 0.0
    end: bool = True

    def __post_init__(self) -> None:
        """Refuse a negative z-loss."""
        if self.z < 0:
            raise SettingError(f"`z` is {self.z}", hint="it is 0 or more")

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """A number an example.

        Raises:
            DataError: a target that is neither a label nor a text, or a text without tokens.
        """
        answers = [self.tokens(prompt, lm, one) for one in batch.examples]
        rows = _rows(prompt, lm, batch.examples, answers)
        jobs = [
            Job(row.then(answer), self._asks(answer), prompt.parts) for row, answer in zip(rows, answers, strict=True)
        ]
        return torch.stack([self._loss(reading) for reading in lm.read(jobs)])

    def tokens(self, prompt: Prompt, lm: LM, example: Example) -> tuple[int, ...]:
        """The tokens of an example's target in place."""
        label = example.target in prompt.labels
        text = prompt.words.word(str(example.target)) if label else example.target
        name = f" `{example.key}`" if example.key else ""
        if not isinstance(text, str):
            hint = "one text each: `written.pairs`" if isinstance(text, tuple) else "give labels or texts"
            raise DataError(f"example{name} has the target {example.target!r}, which is no text to write", hint=hint)
        ids = lm.word(text, prompt.template.before(prompt.template.slots[0])) if text.strip() else ()
        if not ids:
            raise DataError(f"the target of example{name}, {text!r}, has no tokens in {lm.name}", hint="leave it out")
        return ids + (ending(lm) if self.end and not label else ())

    def _asks(self, answer: Sequence[int]) -> tuple[Given] | tuple[Given, Tokens]:
        return (Given(), Tokens((answer[0],), mass=True)) if self.z else (Given(),)

    def _loss(self, reading: Reading) -> Float[Tensor, ""]:
        values = reading[0].values[0]  # [answer]
        loss = -(values.mean() if self.over == "mean" else values.sum())
        total = reading[1].total if self.z else None
        return loss if total is None else loss + self.z * total.square().sum()

    def key(self) -> str:
        """The same for equal settings."""
        return f"written {self.over} {self.z} {self.end}"


def pairs(examples: Iterable[Example]) -> tuple[Example, ...]:
    """Examples of one text each: one with several references is an example a reference.

    Raises:
        DataError: none has a target.
    """
    found: list[Example] = []
    for one in examples:
        targets = one.target if isinstance(one.target, tuple) else (one.target,)
        found += [replace(one, target=target) for target in targets if target]
    if not found:
        raise DataError("there is no target to learn to write", hint="give examples with texts")
    return tuple(found)


def _rows(prompt: Prompt, lm: LM, examples: Sequence[Example], answers: Sequence[Sequence[int]]) -> list[Row]:
    """A row an example, with room for its answer; a masked one has as many masks."""
    lines = lines_of(prompt, lm, examples)
    sizes = [len(answer) for answer in answers]
    return prompt.reader(lm).wide(lines, sizes if lm.kind == "masked" else [1] * len(lines), sizes)
