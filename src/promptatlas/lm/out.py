"""What a pass left behind, and each job's share of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptatlas.lm.ask import Against, Ask, Hidden, Job, Places, Read, Reading, Tokens, Vocabulary
from promptatlas.lm.batch import Wanted
from promptatlas.lm.lines import Line
from promptatlas.lm.sheet import Sheet


@dataclass
class Out:
    """What a pass left behind.

    Attributes:
        logits: [points, columns], the vocabulary's before the learned ones; None where nothing went through the head.
        states: [points, head], what entered the head.
        logp: [points], where tokens were chosen whose log-probabilities are all that is wanted.
        layers: of the states slots are read from, [rows, length, hidden] a layer, laid out as the sheet with the slots.
        encoder: the same of a seq2seq model's encoder; `layers` itself otherwise.
        vocab: how many columns the whole head has.
        head: how wide what enters the head is.
    """

    logits: Tensor | None
    states: Tensor | None
    logp: Tensor | None
    layers: Sequence[Tensor]
    encoder: Sequence[Tensor]
    vocab: int
    head: int


def answers(
    jobs: Sequence[Job], owners: Sequence[tuple[int, int, Line]], want: Wanted, out: Out, sheet: Sheet, head: Sheet
) -> dict[int, Reading]:
    """Readings by job, ask by ask; `owners` are jobs in the order of `want`, each with its line's place and line."""
    columns = _Columns(want, None if out.logp is not None else out.logits, out.vocab)
    at = iter(want.points)
    point = 0
    readings: dict[int, Reading] = {}
    for i, n, line in owners:
        reads = []
        for ask in jobs[i].asks:
            count = len(next(at))
            span = slice(point, point + count)
            point += count
            if isinstance(ask, Hidden):
                reads.append(_hidden(ask, jobs[i], out, span, (n, line), sheet, head))
            elif out.logp is not None:
                reads.append(Read(out.logp[span][None]))
            else:
                reads.append(columns.read(ask, jobs[i], span))
        readings[i] = tuple(reads)
    return readings


class _Columns:
    """Columns of the head's output by ask; what many jobs ask alike is gathered once."""

    def __init__(self, want: Wanted, logits: Tensor | None, vocab: int) -> None:
        self.want, self.logits, self.vocab = want, logits, vocab
        self.place = {} if want.all_ids else {token: i for i, token in enumerate(want.ids)}
        most = max((one.vectors.shape[0] for one, _ in want.against), default=0)
        self.width = 0 if logits is None else logits.shape[1] - most
        self.vocabulary = None if logits is None else logits[:, : self.width]
        self.total = self.vocabulary.logsumexp(-1) if self.vocabulary is not None and want.all_ids else None
        self.gathered: dict[tuple[int, ...], Tensor] = {}

    def tokens(self, ids: tuple[int, ...]) -> Tensor:
        """[points, asked] logits of these tokens at every point."""
        if ids not in self.gathered:
            columns = [self.place.get(i, i) for i in ids]
            self.gathered[ids] = self.vocabulary[:, torch.tensor(columns, dtype=torch.long)]  # type: ignore[index]
        return self.gathered[ids]

    def read(self, ask: Ask, job: Job, span: slice) -> Read:
        """What one ask gets of its points."""
        if self.logits is None:
            return self.nothing(ask)
        if isinstance(ask, Tokens):
            return Read(self.tokens(ask.ids)[span], self.total[span] if ask.mass and self.total is not None else None)
        if isinstance(ask, Against):
            return Read(self.logits[span, self.width : self.width + ask.vectors.shape[0]])
        logp = self.vocabulary[span] - self.total[span, None]  # type: ignore[index]
        if isinstance(ask, Vocabulary):
            return Read(logp)
        ids = ask.ids if isinstance(ask, Places) else job.row.answer
        return Read(logp.gather(1, torch.tensor(ids, dtype=torch.long, device=logp.device)[:, None]).T)

    def nothing(self, ask: Ask) -> Read:
        """What an ask gets where the whole batch has no point to read at, shaped as it is in other company."""
        if isinstance(ask, Tokens):
            return Read(torch.zeros(0, len(ask.ids)), torch.zeros(0) if ask.mass else None)
        if isinstance(ask, Against):
            return Read(torch.zeros(0, ask.vectors.shape[0]))
        return Read(torch.zeros(0, self.vocab) if isinstance(ask, Vocabulary) else torch.zeros(1, 0))


def _hidden(ask: Hidden, job: Job, out: Out, span: slice, owner: tuple[int, Line], sheet: Sheet, head: Sheet) -> Read:
    """States of one row."""
    n, line = owner
    if ask.at == "head":
        return Read(torch.zeros(0, out.head) if out.states is None else out.states[span])
    if ask.at == "slot":
        places = [head.at(n, at - line.begin) for slot in job.row.slots for at in slot.positions]
        rows, columns = [row for row, _ in places], [column for _, column in places]
        return Read(torch.cat([out.layers[layer][rows, columns].float() for layer in ask.layers], -1))
    row, first = sheet.starts[n]
    if ask.at == "mean":
        states = [out.encoder[layer][row, first : first + len(job.row)].float() for layer in ask.layers]
        own = _own(job).to(states[0])
        return Read((torch.cat(states, -1) * own[:, None]).sum(0, keepdim=True) / own.sum().clamp(min=1))
    at = first + (job.row.first if ask.at == "first" else job.row.last)
    return Read(torch.cat([out.encoder[layer][row, at : at + 1].float() for layer in ask.layers], -1))


def _own(job: Job) -> Tensor:
    """[length]: 1 at the row's own tokens, 0 at parts' vectors."""
    own = torch.ones(len(job.row))
    for span in job.row.spans:
        if span.kind == "part":
            own[span.start : span.end] = 0
    return own
