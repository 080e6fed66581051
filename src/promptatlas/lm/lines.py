"""Jobs to lines: what is read alike is read once, and several answers to one text branch from it as a tree."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from promptatlas.lm.ask import Job
from promptatlas.lm.lm import Kind

NODES = 256  # answer tokens a line holds: branches don't see each other, but attention pays for all pairs


@dataclass(eq=False)
class Line:
    """What one row of a pass reads.

    Attributes:
        job: one of the jobs that are read here: its row, its parts.
        ids: the side where answers are written (a seq2seq model's decoder): the text, then the tokens of answers.
        stem: how many of `ids` are the text's.
        parents: of each token behind the stem, the position it follows.
        jobs: which jobs are read here.
        begin: how many tokens of the text a shared beginning holds.
    """

    job: Job
    ids: list[int]
    stem: int
    parents: list[int] = field(default_factory=list)
    jobs: list[int] = field(default_factory=list)
    begin: int = 0
    known: dict[tuple[int, int], int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Tokens that are still to be run."""
        return len(self.ids) - self.begin

    @property
    def branched(self) -> bool:
        """Whether some token doesn't follow the one before it."""
        return any(parent != self.stem + i - 1 for i, parent in enumerate(self.parents))

    def depths(self) -> list[int]:
        """The position of every token: how many it follows."""
        found = list(range(self.stem))
        for parent in self.parents:
            found.append(found[parent] + 1)
        return found

    def path(self, answer: Sequence[int]) -> list[int]:
        """Where each token of an answer is read: at the text's end, then at the answer's own tokens, put in if new."""
        at = [self.stem - 1]
        for token in answer[:-1]:
            key = (at[-1], token)
            if key not in self.known:
                self.known[key] = len(self.ids)
                self.parents.append(at[-1])
                self.ids.append(token)
            at.append(self.known[key])
        return at[: len(answer)]


def lined(jobs: Sequence[Job], indices: Sequence[int], kind: Kind, *, branch: bool) -> list[Line]:
    """Lines for these jobs, in the order their first jobs come; without `branch`, one answer a line."""
    lines: list[Line] = []
    found: dict[tuple[object, ...], Line] = {}
    for i in indices:
        job = jobs[i]
        answer = () if kind == "masked" else job.row.answer
        key = (*_alike(job), () if branch and _ends(job, kind) else answer[:-1])
        line = found.get(key)
        if line is None or len(line.parents) + len(answer) > NODES:
            text = list(job.row.feed if kind == "seq2seq" else job.row.ids)
            line = found[key] = Line(job, text, len(text))
            lines.append(line)
        line.path(answer)
        line.jobs.append(i)
    return lines


def _alike(job: Job) -> tuple[object, ...]:
    """The same for jobs whose text and parts are."""
    row = job.row
    spans = tuple((span.start, span.end, id(job.parts[span.name])) for span in row.spans if span.kind == "part")
    front = tuple(id(part) for part in job.parts.values() if part.site == "attention")
    return row.ids, row.types, row.feed, spans, front


def _ends(job: Job, kind: Kind) -> bool:
    """Whether answers go on where the text ends."""
    length = len(job.row.feed if kind == "seq2seq" else job.row.ids)
    return bool(job.row.slots) and job.row.slots[0].positions[-1:] == (length - 1,)
