"""Words recovered beside a label: the right one should help, a wrong one shouldn't."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.ask import Job
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row, Span
from promptatlas.lm.site import Part
from promptatlas.parts.head import LabelVectors, Said
from promptatlas.prompting import Prompt
from promptatlas.train.event import hide, surprise
from promptatlas.train.loss import Batch

SAID = "said"  # what the label's vector is called while it stands at the slot


@dataclass(frozen=True)
class Fluency:
    """DART's fluency constraint, a label-conditioned masked language model.

    Zhang, Li, Chen, Deng, Bi, Tan, Huang & Chen 2021, arXiv:2108.13161. A label drawn for each example stands at the
    slot; tokens of its fields are masked, and their probabilities drawn to 1 where the label is the example's own, else
    to 0. differs: each example counts the same, not each token; the label that stands there is the trained one (the
    released code compares ids of two kinds, so that no label is ever the right one).

    Attributes:
        rate: each token's chance to be masked; an example of which none is counts 0.
        part: the label rows, whose vectors are put in.
    """

    rate: float
    part: str

    def __post_init__(self) -> None:
        """Refuse a rate that is no probability."""
        if not 0 <= self.rate <= 1:
            raise SettingError(f"`rate` is {self.rate}", hint="it is from 0 to 1")

    def key(self) -> str:
        """The same for equal settings."""
        return f"fluency {self.rate} {self.part}"

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """The mean over each example's masked tokens.

        Raises:
            NeedsError: the model has no mask, or label rows that can't stand among its input vectors.
        """
        rows = prompt.parts[self.part]
        if lm.mask is None or not isinstance(rows, LabelVectors) or lm.head != lm.width:
            raise NeedsError(
                f"labels can't stand at a slot of `{lm.name}`",
                hint="a masked model whose input vectors are as wide as its output rows is needed; set fluency=0",
            )
        labels = [Said(rows, at) for at in range(len(prompt.labels))]
        lines, owners = prompt.lines(lm, batch.examples)
        encoded = prompt.reader(lm).encode([lines[first] for first, _ in owners])
        losses = torch.zeros(len(encoded), device=lm.device)
        jobs, right, kept = [], [], []
        for at, (example, row) in enumerate(zip(batch.examples, encoded, strict=True)):
            draw = batch.own(at)
            label = int(torch.randint(len(labels), (), generator=draw))
            hidden = self._hidden(row, lm, draw)
            if hidden:
                jobs.append(_asked(row, hidden, lm.mask, {**prompt.parts, SAID: labels[label]}))
                right.append(prompt.labels[label] == example.target)
                kept.append(at)
        found = [recovered(reading[0].values[0], so) for reading, so in zip(lm.read(jobs), right, strict=True)]
        return losses.index_add(0, torch.tensor(kept, device=lm.device), torch.stack(found)) if found else losses

    def _hidden(self, row: Row, lm: LM, draw: torch.Generator) -> list[int]:
        """Places of the example's own tokens that are masked: no mark, no slot, no part, no demonstration."""
        own = [span for span in row.spans if span.kind == "field" and span.demo is None]
        free = [at for span in own for at in range(span.start, span.end) if row.ids[at] not in lm.special]
        return [at for at, chance in zip(free, torch.rand(len(free), generator=draw).tolist(), strict=True)
                if chance < self.rate]  # fmt: skip


def recovered(logp: Float[Tensor, " places"], right: bool) -> Float[Tensor, ""]:
    """Mean binary cross-entropy of tokens' probabilities: against 1 under the right label, against 0 under a wrong one.

    >>> [round(float(recovered(torch.tensor([0.25]).log(), right)), 4) for right in (True, False)]
    [1.3863, 0.2877]
    """
    return surprise(logp, right).mean()


def _asked(row: Row, hidden: list[int], mask: int, parts: Mapping[str, Part]) -> Job:
    """The row with the label's vector at its slot and masks at these places, and the question what they were."""
    told, places = hide(row, hidden, mask)
    said = (Span("part", SAID, at, at + 1) for slot in row.slots for at in slot.positions)
    return Job(replace(told, spans=(*row.spans, *said)), (places,), parts)
