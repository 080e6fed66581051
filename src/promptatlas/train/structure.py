"""The loss of relations that are vectors: the label at the slot, and that one thing and the relation come to the other.

Chen et al. 2022, "KnowPrompt", arXiv:2104.07650, sec. 4.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from promptatlas.data.example import Example
from promptatlas.errors import DataError
from promptatlas.lm.ask import Hidden, Job, Read
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row, Slot
from promptatlas.prompting import Prompt
from promptatlas.train.loss import Batch, nll, right

LONGEST = 5  # tokens of a span that stands for a thing it isn't


@dataclass(frozen=True)
class Structure:
    """Minus the log-probability of the label and, weighted, the structural loss, in one pass.

    Attributes:
        weight: of the structural loss; 0: the label alone.
        margin: the distance at which a triple is as good as not.
        negatives: triples an example in which one of the two things is not what it is.
        head: the field that has the one thing; its last place in a row counts.
        tail: that of the other.
    """

    weight: float = 1e-3
    margin: float = 0.3
    negatives: int = 1
    head: str = "head"
    tail: str = "tail"

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """A number an example.

        Raises:
            DataError: an example whose target is no label, or in whose row one of the things has no token.
        """
        if not self.weight:
            return nll(prompt, lm, batch)
        lines, _ = prompt.lines(lm, batch.examples)
        rows = prompt.reader(lm).encode(lines)
        jobs, spans = [], []
        for at, (line, row) in enumerate(zip(lines, rows, strict=True)):
            mine = self._spans(row, batch.examples[at], batch.own(at))
            (query,) = prompt.words.queries(lm, line.template, line.example, parts=prompt.parts)
            jobs.append(Job(_open(row, mine), (*query.asks, Hidden((-1,), "slot")), prompt.parts))
            spans.append(mine)
        readings = lm.read(jobs)
        first = [[(Read(one[0].values[:1]),)] for one in readings]
        scores = prompt.words.fold(first, lm, prompt.template, prompt.parts).log_softmax(-1)
        places = torch.tensor(right(prompt, batch.examples), device=scores.device)
        states = [one[-1].values for one in readings]
        lost = torch.stack([self._lost(some, mine) for some, mine in zip(states, spans, strict=True)])
        return -scores.gather(1, places[:, None])[:, 0] + self.weight * lost.to(scores.device)

    def key(self) -> str:
        """The same for equal settings."""
        return repr(self)

    def _spans(self, row: Row, example: Example, draw: torch.Generator) -> list[tuple[range, range]]:
        """Where the two things are; and then of each negative, where two that don't belong together are."""
        both = _thing(row, self.head, example), _thing(row, self.tail, example)
        spans = [both]
        for _ in range(self.negatives):
            other = _elsewhere(len(row), draw)
            spans.append((other, both[1]) if int(torch.randint(2, (), generator=draw)) else (both[0], other))
        return spans

    def _lost(self, states: Float[Tensor, "slots hidden"], spans: Sequence[tuple[range, range]]) -> Float[Tensor, ""]:
        """The structural loss of one example: the slot's state first, then those of all spans."""
        relation, things, at = states[0], [], 1
        for span in (one for both in spans for one in both):
            things.append(states[at : at + len(span)].mean(0))
            at += len(span)
        gaps = distance(torch.stack(things[::2]), relation, torch.stack(things[1::2]))
        return structural(gaps[:1], gaps[None, 1:], self.margin)[0]


def distance(
    head: Float[Tensor, "#triples hidden"],
    relation: Float[Tensor, "*#triples hidden"],
    tail: Float[Tensor, "#triples hidden"],
) -> Float[Tensor, " triples"]:
    """How far one thing and the relation are from the other: the length of head + relation - tail, triple by triple."""
    gaps: Tensor = torch.linalg.vector_norm(head + relation - tail, dim=-1)
    return gaps


def structural(
    true: Float[Tensor, " examples"], false: Float[Tensor, "examples negatives"], margin: float
) -> Float[Tensor, " examples"]:
    """The loss out of distances, of the right triple and of wrong ones: small where the right is nearer than `margin`.

    Without wrong ones their half is left out.
    """
    near = softplus(true - margin)  # -log sigmoid(margin - true)
    return near + softplus(margin - false).mean(-1) if false.shape[-1] else near


def _thing(row: Row, field: str, example: Example) -> range:
    """Where the row last shows the field of the example itself."""
    found = [span for span in row.spans if span.kind == "field" and span.name == field and span.demo is None]
    if not found or found[-1].end == found[-1].start:
        name = f"example `{example.key}`" if example.key else "an example"
        raise DataError(
            f"{name} has no token of `{field}` in its row", hint=f"write {{{field}!}}: it is then never cut"
        )
    return range(found[-1].start, found[-1].end)


def _elsewhere(length: int, draw: torch.Generator) -> range:
    """A span of up to `LONGEST` tokens of a row, its first and last token left out where it has others."""
    first, last = (1, length - 1) if length > 2 else (0, length)
    many = min(int(torch.randint(1, LONGEST + 1, (), generator=draw)), last - first)
    start = int(torch.randint(first, last - many + 1, (), generator=draw))
    return range(start, start + many)


def _open(row: Row, spans: Sequence[tuple[range, range]]) -> Row:
    """The row with a slot at every token of the spans, behind its own, so that their states are read."""
    more = [Slot("", (at,)) for both in spans for span in both for at in span]
    return replace(row, slots=(*row.slots, *more))
