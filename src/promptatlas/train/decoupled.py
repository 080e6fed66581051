"""ADAPET's losses: each label word an event of its own, and a text's tokens recovered beside a label."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from warnings import warn

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.ask import Job, Places
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.prompting import Prompt
from promptatlas.prompting.rows import Line
from promptatlas.text.template import Template
from promptatlas.train.event import hide, surprise
from promptatlas.train.loss import Batch, Loss, generator, right
from promptatlas.train.plan import named
from promptatlas.train.spoken import Ids, shared, spoken


def decoupled(logp: Sequence[Sequence[Tensor]], gold: int) -> Float[Tensor, ""]:
    """The mean over answers, an answer's words and a word's tokens of the surprise at each; Float[tokens] a word.

    >>> yes, no = torch.tensor([0.6]).log(), torch.tensor([0.1]).log()
    >>> round(float(decoupled([[yes], [no]], 0)), 6)
    0.308093
    """
    answers = [
        torch.stack([surprise(one, at == gold).mean() for one in some if len(one)]).mean()
        for at, some in enumerate(logp)
        if any(map(len, some))
    ]
    return torch.stack(answers).mean()


@dataclass(frozen=True)
class Decoupled:
    """ADAPET's label loss: under the whole vocabulary the right label's word is likely, and every other one isn't.

    Tam, Menon, Bansal, Srivastava & Raffel 2021, arXiv:2103.11955. As many masks stand at the slot as the longest word
    has tokens; a token that all words have in one place is left out.

    Attributes:
        longest: the most tokens of a word.
    """

    longest: int = 8

    def key(self) -> str:
        """The same for equal settings."""
        return f"decoupled {self.longest}"

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """Minus the log-probability of each right word and of the absence of each wrong one: a mean over answers."""
        lines, owners = prompt.lines(lm, batch.examples)
        words = [spoken(prompt, lm, one, self.longest) for one in batch.examples]
        widths = [max(len(ids) for some in mine for ids in some) for mine in words]
        asked = [
            (lines[min(first + at, last - 1)], width, ids)  # a row a choice, or one row for all labels
            for mine, width, (first, last) in zip(words, widths, owners, strict=True)
            for at, some in enumerate(mine)
            for ids in some
        ]
        found = iter(self._read(prompt, lm, *zip(*asked, strict=True)))
        losses = []
        for mine, gold in zip(words, right(prompt, batch.examples), strict=True):
            same = shared(mine)
            kept = [[[at for at in range(len(ids)) if at not in same] for ids in some] for some in mine]
            losses.append(decoupled([[next(found)[at] for at in some] for some in kept], gold))
        return torch.stack(losses)

    def _read(
        self, prompt: Prompt, lm: LM, lines: Sequence[Line], widths: Sequence[int], words: Sequence[Ids]
    ) -> list[Tensor]:
        """The log-probability of each word's tokens at the first of so many masks: Float[tokens] a word."""
        rows = prompt.reader(lm).wide(lines, widths, [0] * len(lines))
        jobs = [
            Job(row, (Places(row.slots[0].positions[: len(ids)], ids),), prompt.parts)
            for row, ids in zip(rows, words, strict=True)
        ]
        return [reading[0].values[0].float() for reading in lm.read(jobs)]


@dataclass(frozen=True)
class Conditioned:
    """ADAPET's label-conditioned masked language model: beside the right label the text's own tokens are likely.

    Tam, Menon, Bansal, Srivastava & Raffel 2021, arXiv:2103.11955. A label drawn for each example stands at the slot;
    tokens drawn from the row are masked, and their probabilities pulled to 1 where the label is right, else to 0.

    Attributes:
        rate: u · rate of the row's tokens are masked, u drawn from 0 to 1 for each example; one less, but one at least.
        balanced: the right label is drawn half of the time; else all labels are drawn alike.
        marks: whether the tokenizer's marks and the label itself may be masked too, as in the released code.
        longest: the most tokens of a word.
    """

    rate: float = 0.105
    balanced: bool = False
    marks: bool = True
    longest: int = 8

    def __post_init__(self) -> None:
        """Refuse a rate that is no probability."""
        if not 0 <= self.rate <= 1:
            raise SettingError(f"`rate` is {self.rate}", hint="it is from 0 to 1")

    def key(self) -> str:
        """The same for equal settings."""
        return f"conditioned {self.rate} {self.balanced} {self.marks} {self.longest}"

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """The mean surprise at each example's masked tokens; a row of one token counts 0, with a warning.

        Raises:
            NeedsError: the model has no mask.
        """
        if lm.kind != "masked" or (mask := lm.mask) is None:
            raise NeedsError(f"`{lm.name}` has no mask to hide tokens behind", hint="load a masked model")
        lines, owners = prompt.lines(lm, batch.examples)
        draws = [batch.own(at) for at in range(len(batch.examples))]
        golds = right(prompt, batch.examples)
        words = [spoken(prompt, lm, one, self.longest) for one in batch.examples]
        labels = [self._label(len(some), gold, draw) for some, gold, draw in zip(words, golds, draws, strict=True)]
        said = [some[label][0] for some, label in zip(words, labels, strict=True)]
        mine = [lines[min(first + label, last - 1)] for label, (first, last) in zip(labels, owners, strict=True)]
        empty = prompt.reader(lm).wide(mine, [len(ids) for ids in said], [0] * len(mine))
        rows = [saying(row, ids) for row, ids in zip(empty, said, strict=True)]
        hidden = [self._hidden(row, draw) for row, draw in zip(rows, draws, strict=True)]
        asked = [hide(row, at, mask) for row, at in zip(rows, hidden, strict=True) if at]
        jobs = [Job(row, (places,), prompt.parts) for row, places in asked]
        found = iter(reading[0].values[0].float() for reading in (lm.read(jobs) if jobs else ()))
        nothing = torch.zeros((), device=lm.device)
        return torch.stack([
            surprise(next(found), label == gold).mean() if at else nothing
            for at, label, gold in zip(hidden, labels, golds, strict=True)
        ])  # fmt: skip

    def _label(self, count: int, gold: int, draw: torch.Generator) -> int:
        """Which answer is put in."""
        if not self.balanced:
            return int(torch.randint(count, (), generator=draw))
        if float(torch.rand((), generator=draw)) < 0.5:
            return gold
        return (gold + 1 + int(torch.randint(count - 1, (), generator=draw))) % count

    def _hidden(self, row: Row, draw: torch.Generator) -> list[int]:
        """Places that are masked: of all tokens, or of the texts' alone; never of vectors."""
        kinds = ("field", "text", "mark", "slot") if self.marks else ("field", "text")
        tokens = [at for span in row.spans if span.kind != "part" for at in range(span.start, span.end)]
        free = [at for span in row.spans if span.kind in kinds for at in range(span.start, span.end)]
        if len(tokens) < 2 or not free:
            warn("an example of one token or none has nothing to recover, and counts 0", stacklevel=2)
            return []
        count = masked(len(tokens), self.rate, float(torch.rand((), generator=draw)))
        return sorted(free[at] for at in torch.randperm(len(free), generator=draw)[:count].tolist())


def masked(length: int, rate: float, share: float) -> int:
    """How many of a row's tokens are masked; `share` is drawn from 0 to 1.

    >>> masked(100, 0.105, 0.9), masked(256, 0.105, 0.99), masked(20, 0.105, 0.5)
    (8, 25, 1)
    """
    return max(int(share * rate * length), 2) - 1


def saying(row: Row, ids: Sequence[int]) -> Row:
    """The row with an answer's tokens in the masks of its slot."""
    found = list(row.ids)
    for at, token in zip(row.slots[0].positions, ids, strict=True):
        found[at] = token
    return replace(row, ids=tuple(found))


@dataclass(frozen=True, eq=False)
class AnyOf:
    """A loss under a template that is drawn anew for each step, and for each term of its own.

    Attributes:
        loss: under one template.
        templates: with the same fields, and one slot.
    """

    loss: Loss
    templates: tuple[Template, ...]

    def key(self) -> str:
        """The same for equal losses and templates."""
        return f"any of {[str(one) for one in self.templates]}: {named(self.loss)}"

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """The loss, all pieces of a batch under one template."""
        draw = generator(batch.seed, "template", batch.step)
        template = self.templates[int(torch.randint(len(self.templates), (), generator=draw))]
        return self.loss(replace(prompt, template=template), lm, batch)
