"""Answers that are written into their masks token by token: as many reads as the longest has tokens.

Schick & Schütze 2021, "It's Not Just Size That Matters", arXiv:2009.07118.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from promptatlas.lm.ask import Job, Order, Places, Read, Reading
from promptatlas.lm.lm import LM


@dataclass(eq=False)
class Filling:
    """One answer on its way into the masks of its row.

    Attributes:
        job: the row, with all masks empty, and its answer.
        order: which token is next.
        found: the log-probability of each token that is written, by its place in the answer.
    """

    job: Job
    order: Order
    found: dict[int, Tensor] = field(default_factory=dict)

    @property
    def left(self) -> list[int]:
        """Places in the answer that are still masks."""
        return [at for at in range(len(self.job.row.answer)) if at not in self.found]

    def next(self) -> Job:
        """The row with what is written so far, and the question how likely each of the other tokens is at its mask."""
        row, left = self.job.row, self.left
        masks = row.slots[0].positions
        ids = list(row.ids)
        for at in self.found:
            ids[masks[at]] = row.answer[at]
        asked = Places(tuple(masks[at] for at in left), tuple(row.answer[at] for at in left))
        return Job(replace(row, ids=tuple(ids)), (asked,), self.job.parts)

    def write(self, reading: Reading) -> None:
        """Write one token, of which this says how likely it was."""
        values, left = reading[0].values[0], self.left  # [left]
        best = int(values.argmax()) if self.order == "confident" else 0
        self.found[left[best]] = values[best]

    def reading(self) -> Reading:
        """What came out, as `Given` has it: each token's log-probability, given those written before it."""
        return (Read(torch.stack([self.found[at] for at in range(len(self.found))])[None]),)


def filled(lm: LM, jobs: Sequence[Job], orders: Sequence[Order]) -> list[Reading]:
    """A reading a job, in order, those of ordered answers of several masks after as many passes.

    The first pass is the same for all answers of one length to one row, and reads it once.

    Args:
        lm: the model.
        jobs: an ordered one asks for `Given` alone.
        orders: of each job.
    """
    fillings = {
        at: Filling(job, order)
        for at, (job, order) in enumerate(zip(jobs, orders, strict=True))
        if order != "parallel" and len(job.row.answer) > 1 and lm.kind == "masked"
    }
    first = [fillings[at].next() if at in fillings else job for at, job in enumerate(jobs)]
    readings = dict(enumerate(lm.read(first)))
    going = fillings
    while going:
        for at, one in going.items():
            one.write(readings[at])
        going = {at: one for at, one in going.items() if one.left}
        if going:
            readings |= zip(going, lm.read([one.next() for one in going.values()]), strict=True)
    return [fillings[at].reading() if at in fillings else readings[at] for at in range(len(jobs))]
