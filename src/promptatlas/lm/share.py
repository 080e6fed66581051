"""Reading lines that begin alike: each beginning is run once, and kept for later reads where that may pay."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from promptatlas.lm.ask import Hidden, Reading
from promptatlas.lm.batch import batches, front_part, positions
from promptatlas.lm.beginnings import FIRST_PART, Beginning, Candidate, plan
from promptatlas.lm.kept import Kept, casting, held, made, trained
from promptatlas.lm.lines import Line
from promptatlas.lm.reading import Pass
from promptatlas.lm.site import Part

SPREAD = 4  # how much longer a batch may be, spread out line by line, than its tokens are many


@dataclass(eq=False)
class Shared:
    """One read of some lines under the same weights.

    Attributes:
        run: the passes.
        budget: positions of one pass.
        kept: beginnings of earlier reads.
        touching: what the weights and hooks come from.
        trained: whether gradients go to weights or hooks: then nothing stays the same.
    """

    run: Pass
    budget: int
    kept: Kept
    touching: Mapping[str, Part]
    trained: bool

    def readings(self, lines: Sequence[Line]) -> Iterator[dict[int, Reading]]:
        """A reading for every job of these lines."""
        waiting: list[tuple[Line, Beginning]] = []
        cost = longest = 0
        due: set[int] = set()
        for at in plan(self._candidates(lines)):
            for line in sorted(at.lines, key=len, reverse=True):
                new = [one for one in at.above() if one.layers is None and id(one) not in due]
                more = len(line) + sum(one.stop - one.start for one in new)
                widest = max(longest, len(line))
                if waiting and (cost + more > self.budget or widest * (len(waiting) + 1) > SPREAD * self.budget):
                    yield self._read(waiting)
                    waiting, cost, widest = [], 0, len(line)
                    due.clear()
                waiting.append((line, at))
                due.update(map(id, new))
                cost, longest = cost + more, widest
        if waiting:
            yield self._read(waiting)

    def _read(self, waiting: Sequence[tuple[Line, Beginning]]) -> dict[int, Reading]:
        self._begin([at for _, at in waiting])
        found = self.run.read([line for line, _ in waiting], [at.layers for _, at in waiting])
        for _, at in waiting:
            for one in at.above():
                one.left -= 1
                if not one.left:
                    one.layers = None
        return found

    def _begin(self, wanted: Sequence[Beginning]) -> None:
        """Run the beginnings that aren't there yet, those of one level together."""
        levels: dict[int, list[Beginning]] = {}
        seen: set[int] = set()
        for one in wanted:
            for depth, at in self._missing(one):
                if id(at) not in seen:
                    seen.add(id(at))
                    levels.setdefault(depth, []).append(at)
        for depth in sorted(levels):
            level = levels[depth]
            for some in batches([at.stop - at.start for at in level], self.budget):
                self._run([level[i] for i in some])

    def _missing(self, one: Beginning) -> list[tuple[int, Beginning]]:
        """A beginning and those it goes on from, down to the first that is there; each with how many it follows."""
        path = []
        for at in one.above():
            if at.layers is None and at.keep:
                at.layers = self.kept.get(self._key(at))
            if at.layers is not None:
                break
            path.append(at)
        depths = {id(at): depth for depth, at in enumerate(reversed(list(one.above())))}
        return [(depths[id(at)], at) for at in path]

    def _run(self, level: Sequence[Beginning]) -> None:
        lines = [Line(at.line.job, at.line.ids[: at.stop], at.stop, begin=at.start) for at in level if at.line]
        fronts = [None if at.parent is None else at.parent.layers for at in level]
        for at, layers in zip(level, self.run.begin(lines, fronts), strict=True):
            at.layers = layers
            if at.keep and at.line is not None:
                self.kept.put(self._key(at), layers, chain(*layers), held(at.line.job.parts))

    def _key(self, at: Beginning) -> Hashable:
        """What a beginning was made from."""
        job = at.line.job  # type: ignore[union-attr]
        front = front_part(job.parts)
        return (
            casting(self.run.lm.device),
            tuple((name, made(part)) for name, part in sorted(self.touching.items())),
            None if front is None else made(front),
            job.row.ids[: at.stop],
            tuple(
                (span.start, span.end, made(job.parts[span.name]))
                for span in job.row.spans
                if span.kind == "part" and span.start < at.stop
            ),
        )

    def _candidates(self, lines: Sequence[Line]) -> list[Candidate]:
        numbers: dict[Hashable, int] = {}
        return [self._candidate(line, numbers) for line in lines]

    def _candidate(self, line: Line, numbers: dict[Hashable, int]) -> Candidate:
        keys = np.array(line.ids[: line.stem], dtype=np.int64)
        job, tables = line.job, self.run.tables
        same = line.stem  # tokens before the first vector that is trained, or made from this row alone
        for span in job.row.spans:
            if span.kind != "part" or span.end == span.start:
                continue
            part = job.parts[span.name]
            own = tables.by_row(part)
            number = numbers.setdefault((id(part), id(line) if own else 0), len(numbers))
            keys[span.start : span.end] = FIRST_PART + (number << 24) + np.arange(span.end - span.start)
            if own or id(part) in tables.trained:
                same = min(same, span.start)
        front = front_part(job.parts)
        number = 0 if front is None else 1 + numbers.setdefault(id(front), len(numbers))
        cap = self._cap(line)
        return Candidate(line, keys, number, cap, min(cap, self._cut(line, same)) if self.kept.limit else 0)

    def _cap(self, line: Line) -> int:
        """Tokens before the first that something is read at; the text's last is never shared."""
        found = line.stem - 1
        for i in line.jobs:
            job = self.run.jobs[i]
            for ask in job.asks:
                if isinstance(ask, Hidden) and ask.at not in ("slot", "head"):
                    return 0
                slots = [at for slot in job.row.slots for at in slot.positions]
                found = min([found, *positions(ask, job, line, "causal"), *(slots if isinstance(ask, Hidden) else ())])
        return max(0, found)

    def _cut(self, line: Line, same: int) -> int:
        """Tokens that later reads may begin with too: in training all that no step changes, else the prompt's own."""
        front = front_part(line.job.parts)
        if torch.is_grad_enabled() and (self.trained or trained(front)):
            return 0
        if torch.is_grad_enabled() and self.run.tables.trained:
            return same
        fields = [span.start for span in line.job.row.spans if span.kind == "field" and span.demo is None]
        return min([same, *fields])
