"""Rows of a prompt: examples encoded with their demonstrations, read in one call, folded to labels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.demos.room import shrink
from promptatlas.errors import TooLong
from promptatlas.lm.ask import Job, Order, Query, Reading
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.lm.site import Part
from promptatlas.prompting.filling import filled
from promptatlas.score.calibrate import Calibration
from promptatlas.text.render import merged
from promptatlas.text.runs import Runs, SlotRun, TextRun
from promptatlas.text.scripts import joined
from promptatlas.text.template import Shown, Template


@runtime_checkable
class Verbalizer(Protocol):
    """Label words or whatever stands for labels: what is asked of a row, and labels made of what comes back."""

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the scores."""

    def word(self, label: str) -> str | tuple[str, ...]:
        """What a demonstration shows for a label; one a slot where there are several."""

    def queries(
        self,
        lm: LM,
        template: Template,
        example: Example,
        *,
        parts: Mapping[str, Part] | None = None,
        mass: bool = False,
    ) -> Sequence[Query]:
        """What is wanted of one row. Raises WordError: the word, its tokens, a near word that would do."""

    def fold(
        self,
        readings: Sequence[Sequence[Reading]],
        lm: LM,
        template: Template,
        parts: Mapping[str, Part],
        *,
        mass: bool = False,
    ) -> Float[Tensor, "rows labels"]:
        """Log mass of each label, not normalised over labels; with `mass`, probabilities under the vocabulary."""

    kind: ClassVar[str]
    version: ClassVar[int]

    def config(self) -> dict[str, Any]:
        """JSON that, with the tensors, rebuilds it."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What was learned, by name."""


@dataclass(frozen=True)
class Line:
    """What one row is made of: a template, the example in it, the demonstrations before it.

    Attributes:
        template: with a slot.
        example: what it shows.
        demos: before it.
        said: what a model wrote at the slot already, and goes on from.
    """

    template: Template
    example: Example
    demos: Sequence[Example] = ()
    said: str = ""


@dataclass(frozen=True)
class Wanted:
    """What lines of one template want of the model.

    Attributes:
        template: theirs.
        places: where each stood among the lines that were given.
        jobs: the rows, those of one line after those of another.
        orders: how the answer of each is filled in.
        counts: how many each line has.
    """

    template: Template
    places: tuple[int, ...]
    jobs: tuple[Job, ...]
    orders: tuple[Order, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Reader:
    """Reads lines under one set of words and parts.

    Attributes:
        lm: the model.
        words: what is asked of each row.
        parts: in place while rows are read.
        between: text, and parts, after each demonstration.
        drop: which end of the demonstrations goes first where the window is short.
    """

    lm: LM
    words: Verbalizer
    parts: Mapping[str, Part]
    between: Template
    drop: Any

    def fold(self, lines: Sequence[Line], *, mass: bool) -> Float[Tensor, "rows labels"]:
        """Log mass of each label of each line, in order."""
        return together([(self, lines)], mass=mass)[0]

    def wanted(self, lines: Sequence[Line], *, mass: bool) -> list["Wanted"]:
        """What lines want of the model; those of one template together, since words are tokenised in place."""
        groups: dict[Template, list[int]] = {}
        for at, line in enumerate(lines):
            groups.setdefault(line.template, []).append(at)
        return [self._wanted([lines[at] for at in group], tuple(group), mass=mass) for group in groups.values()]

    def _wanted(self, lines: Sequence[Line], places: tuple[int, ...], *, mass: bool) -> "Wanted":
        """Lines of one template; a row of its own for each query of each line."""
        queries = [
            list(self.words.queries(self.lm, line.template, line.example, parts=self.parts, mass=mass))
            for line in lines
        ]
        asked = [(line, query) for line, mine in zip(lines, queries, strict=True) for query in mine]
        rows = self.wide([line for line, _ in asked], [query.width for _, query in asked],
                         [len(query.answer) for _, query in asked])  # fmt: skip
        jobs = [Job(row.then(one.answer), one.asks, self.parts) for row, (_, one) in zip(rows, asked, strict=True)]
        orders = tuple(query.order for _, query in asked)
        return Wanted(lines[0].template, places, tuple(jobs), orders, tuple(map(len, queries)))

    def folded(
        self, wanted: Sequence["Wanted"], readings: Iterator[Reading], *, mass: bool
    ) -> Float[Tensor, "rows labels"]:
        """Labels made of what came back, line by line in the order they were given."""
        found = []
        for one in wanted:
            mine = [[next(readings) for _ in range(count)] for count in one.counts]
            found.append(self.words.fold(mine, self.lm, one.template, self.parts, mass=mass))
        if len(found) < 2:
            return found[0] if found else torch.zeros(0, len(self.words.labels))
        order = [at for one in wanted for at in one.places]
        return torch.cat(found)[torch.tensor(order).argsort()]

    def wide(self, lines: Sequence[Line], widths: Sequence[int], answers: Sequence[int]) -> list[Row]:
        """Rows of lines, each with so many masks at its slot, and room for an answer of so many tokens."""
        rows: dict[int, Row] = {}
        for width in sorted(set(widths)):
            some = [n for n, one in enumerate(widths) if one == width]
            room = max(answers[n] for n in some)
            rows |= zip(some, self.encode([lines[n] for n in some], width=width, room=room), strict=True)
        return [rows[n] for n in range(len(lines))]

    def encode(self, lines: Sequence[Line], *, width: int = 1, room: int = 0) -> list[Row]:
        """Rows of lines; where the window is short, demonstrations go before anything of a text is cut."""
        if not any(line.demos for line in lines):
            return self._plain(lines, width, room)
        try:
            rows = self._plain(lines, width, room)
        except TooLong:
            rows = []
        if rows and not any(row.cut() for row in rows):
            return rows
        return self._plain([self._fitting(line, width, room) for line in lines], width, room)

    def _plain(self, lines: Iterable[Line], width: int, room: int) -> list[Row]:
        lines = list(lines)
        widths = {slot: width for line in lines[:1] for slot in line.template.slots}
        return self.lm.encode([self.runs(line) for line in lines], self.parts, widths=widths, room=room)

    def _fitting(self, line: Line, width: int, room: int) -> Line:
        def fits(demos: list[Example]) -> bool:
            try:
                return self._plain([replace(line, demos=demos)], width, room)[0].cut() == 0
            except TooLong:
                return False

        return replace(line, demos=shrink(list(line.demos), fits, self.drop))

    def shown(self, lines: Sequence[Line]) -> list[int]:
        """Of each line how many demonstrations are left where all that is asked of it fits the window: the fewest."""
        counts = [0] * len(lines)
        for one in self.wanted(lines, mass=False):
            jobs = iter(one.jobs)
            for place, asked in zip(one.places, one.counts, strict=True):
                counts[place] = min((next(jobs).row.demos() for _ in range(asked)), default=0)
        return counts

    def items(self, lines: Sequence[Line]) -> list[tuple[int, int]]:
        """Where the scores of lines read item by item begin and end: one a slot, and items that were cut have none."""
        ends = [0, *accumulate(len(row.slots) for row in self.encode(lines))]
        return list(pairwise(ends))

    def runs(self, line: Line) -> Runs:
        """A line as text runs; demonstrations show their label's word."""
        demos = [Shown(one.fields, self.words.word(str(one.target))) for one in line.demos]
        runs = line.template.render(line.example.fields, demos=demos, between=self.between)
        return _going_on(runs, line.said) if line.said else runs

    def nulls(self, calibration: Calibration, lines: Sequence[Line]) -> Float[Tensor, "rows nulls labels"] | None:
        """Mass of content-free rows, under each line's own demonstrations; equal ones are read once."""
        asked = [calibration.nulls(line.example, line.template) for line in lines]
        if not any(asked):
            return None
        distinct: dict[str, Line] = {}
        keys = []
        for nulls, line in zip(asked, lines, strict=True):
            for null in nulls:
                shown = line.demos if null.demos else ()
                demos = [(one.key, sorted(one.fields.items(), key=str), one.target) for one in shown]
                keys.append(repr((str(null.template), sorted(null.example.fields.items(), key=str), demos)))
                distinct.setdefault(keys[-1], Line(null.template, null.example, shown))
        mass = self.fold(list(distinct.values()), mass=True)
        places = {key: at for at, key in enumerate(distinct)}
        return mass[[places[key] for key in keys]].reshape(len(lines), -1, mass.shape[-1])


def _going_on(runs: Runs, said: str) -> Runs:
    """The runs with this text in front of the slot."""
    at = next(i for i, run in enumerate(runs) if isinstance(run, SlotRun))
    before = runs[at - 1] if at else None
    ahead = before.text if isinstance(before, TextRun) else ""
    return merged([*runs[:at], TextRun(joined(ahead, said)[len(ahead) :]), *runs[at:]])


def together(asked: Sequence[tuple[Reader, Sequence[Line]]], *, mass: bool) -> list[Float[Tensor, "rows labels"]]:
    """Log mass of the lines of each reader, all of one model: one read, whatever their words and parts.

    Words whose masks are filled one after another take more.
    """
    wanted = [reader.wanted(lines, mass=mass) for reader, lines in asked]
    jobs = [job for some in wanted for one in some for job in one.jobs]
    orders = [order for some in wanted for one in some for order in one.orders]
    readings = iter(filled(asked[0][0].lm, jobs, orders) if jobs else ())
    return [reader.folded(some, readings, mass=mass) for (reader, _), some in zip(asked, wanted, strict=True)]
