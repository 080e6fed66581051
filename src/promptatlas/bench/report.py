"""Cells, the table made of them, and the report that shows it: text, Markdown, JSON, one HTML page."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, stdev
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from promptatlas.bench.page import Bars, Dot, page, section
from promptatlas.errors import DataError

Unit = Literal["share", "points", "count", "bytes", "seconds", "deviation"]
SCORES = ("share", "points")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What was measured of one method on one task with one language model under one seed.

    Attributes:
        method: what was applied; for people.
        task: its name.
        lm: the language model's name; "" where none takes part.
        seed: of the draw and the method.
        order: the number of the order that demonstrations are shown in.
        figures: name -> value; one that is missing doesn't exist for this method.
        shots: labelled examples of each label (in all, where a target is no label); 0 where it isn't told.
        hits: "1" or "0" for every test example, right or not; "" where an answer isn't just right or wrong.
    """

    method: str
    task: str
    lm: str
    seed: int
    figures: Mapping[str, float | int]
    shots: int = 0
    hits: str = ""
    order: int = 0

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return {**asdict(self), "figures": dict(self.figures)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Cell":
        """The cell again. Raises DataError for anything else."""
        try:
            return cls(**values)
        except TypeError as error:
            raise DataError(f"this is no cell: {error}") from error


@dataclass(frozen=True)
class Spread:
    """Mean and sample deviation over seeds; the deviation of one alone is not a number."""

    mean: float
    deviation: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a column of the table shows.

    Attributes:
        heading: above it.
        figure: of the cells.
        task: of this task only; None: each seed's mean over the tasks.
        unit: "share" is shown in per cent, "points" as they are, both with their deviation, and the highest stands out;
            "deviation" is that of shares over the orders of a draw's demonstrations, the mean over draws.
    """

    heading: str
    figure: str
    task: str | None = None
    unit: Unit = "share"


@dataclass(frozen=True)
class Entry:
    """One method's line of the table; None where nothing was measured."""

    method: str
    values: tuple[Spread | None, ...]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One answer that a person can read.

    Attributes:
        text: what was asked about.
        target: what is right.
        probabilities: of each label.
        words: the likeliest words at the slot, before training.
        by: which method answered.
    """

    text: str
    target: str
    probabilities: Mapping[str, float]
    words: Mapping[str, float] = field(default_factory=dict)
    by: str = ""

    @property
    def answer(self) -> str:
        """The likeliest label."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    def lines(self) -> tuple[str, str]:
        """Labels and words with their probabilities, the likeliest first."""
        both = (self.probabilities, self.words)
        first, second = (
            ", ".join(f"{name} {share:.2f}" for name, share in sorted(some.items(), key=lambda one: -one[1]))
            for some in both
        )
        return first, second


def table(cells: Iterable[Cell], columns: Sequence[Column]) -> tuple[Entry, ...]:
    """A line a method, in the order they come in."""
    by_method: dict[str, list[Cell]] = {}
    for cell in cells:
        by_method.setdefault(cell.method, []).append(cell)
    return tuple(Entry(name, tuple(_spread(some, one) for one in columns)) for name, some in by_method.items())


@dataclass(frozen=True, kw_only=True)
class Report:
    """A comparison to be shown.

    Attributes:
        title: of the page.
        cells: all that was measured.
        columns: of the table, beside the methods.
        note: how it was measured, in a sentence or two.
        samples: a few answers.
    """

    title: str
    cells: tuple[Cell, ...]
    columns: tuple[Column, ...]
    note: str = ""
    samples: tuple[Sample, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The table's lines."""
        return table(self.cells, self.columns)

    def __rich__(self) -> RenderableType:
        """Table, note and samples."""
        best = self._best()
        drawn = Table(title=Text(self.title, style="bold"), title_justify="left", box=None, pad_edge=False)
        drawn.add_column("method")
        for column in self.columns:
            drawn.add_column(column.heading, justify="right")
        for entry in self.entries:
            values = zip(entry.values, self.columns, best, strict=True)
            texts = (Text(shown(v, c.unit), style="bold" if _is_best(v, b) else "") for v, c, b in values)
            drawn.add_row(entry.method, *texts)
        parts: list[RenderableType] = [drawn, Text(f"\n{self.note}", style="dim")] if self.note else [drawn]
        for one in self.samples:
            labels, words = one.lines()
            parts += [Text(f"\n{one.text}", style="bold"), Text(f"  {labels}  (right: {one.target}; {one.by})")]
            parts += [Text(f"  at the slot, before training: {words}")] if words else []
        return Group(*parts)

    def to_markdown(self) -> str:
        """The table, with its title and note."""
        best = self._best()
        heads = ["method", *(column.heading for column in self.columns)]
        lines = [f"# {self.title}", "", row(heads), row(["---", *("---:" for _ in self.columns)])]
        for entry in self.entries:
            values = zip(entry.values, self.columns, best, strict=True)
            cells = (f"**{shown(v, c.unit)}**" if _is_best(v, b) else shown(v, c.unit) for v, c, b in values)
            lines.append(row([entry.method, *cells]))
        lines += ["", self.note] if self.note else []
        for one in self.samples:
            labels, words = one.lines()
            slot = f"At the slot, before training: {words}."
            lines += ["", f"> {one.text}", "", f"{labels} (right: {one.target}; {one.by}). {slot}"]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Table, cells and samples as plain values."""
        rows = [
            {
                "method": entry.method,
                "values": {
                    column.heading: None if value is None else _plain(value)
                    for column, value in zip(self.columns, entry.values, strict=True)
                },
            }
            for entry in self.entries
        ]
        cells, samples = [one.to_json() for one in self.cells], [asdict(one) for one in self.samples]
        return {"title": self.title, "note": self.note, "rows": rows, "cells": cells, "samples": samples}

    def to_html(self) -> str:
        """One page that needs nothing else: table, charts of the shares, samples; light or dark by itself."""
        return page(self.title, [self.section()])

    def section(self) -> str:
        """Its part of a page."""
        best = self._best()
        heads = ["method", *(column.heading for column in self.columns)]
        rows = [
            [
                (entry.method, False),
                *((shown(v, c.unit), _is_best(v, b)) for v, c, b in zip(entry.values, self.columns, best, strict=True)),
            ]
            for entry in self.entries
        ]
        samples = [(one.text, one.target, one.by, dict(one.probabilities), dict(one.words)) for one in self.samples]
        return section(self.title, self.note, heads, rows, self._bars(), samples)

    def _bars(self) -> list[Bars]:
        """A chart for each column of shares."""
        charts = []
        for at, column in enumerate(self.columns):
            if column.unit != "share":
                continue
            found = [(entry.method, value) for entry in self.entries if (value := entry.values[at]) is not None]
            dots = [Dot(name, one.mean, one.deviation, self._seeds(name, column)) for name, one in found]
            charts.append(Bars(column.heading, dots))
        return charts

    def _seeds(self, method: str, column: Column) -> list[float]:
        return [fmean(some) for some in _by_seed([one for one in self.cells if one.method == method], column)]

    def _best(self) -> list[float]:
        """The highest mean of each column of shares."""
        entries = self.entries
        means = [[one.values[at].mean for one in entries if one.values[at]] for at in range(len(self.columns))]  # type: ignore[union-attr]
        shares = zip(means, self.columns, strict=True)
        return [max(some) if some and column.unit in SCORES else math.inf for some, column in shares]


def shown(value: Spread | None, unit: Unit) -> str:
    """A value as people read it; "-" where there is none."""
    if value is None:
        return "-"
    if unit in SCORES:
        scale = 100 if unit == "share" else 1
        deviation = "" if math.isnan(value.deviation) else f" ± {scale * value.deviation:.1f}"
        return f"{scale * value.mean:.1f}{deviation}"
    if unit == "deviation":
        return f"{100 * value.mean:.1f}"
    if unit == "seconds":
        return f"{value.mean:.1f}"
    return _short(value.mean, ("", " kB", " MB", " GB") if unit == "bytes" else ("", " k", " M", " G"))


def _short(value: float, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if value < 999.5:
            return f"{value:.0f}{unit}" if value >= 100 or not unit else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f}{units[-1]}"


def _by_seed(cells: Iterable[Cell], column: Column) -> list[list[float | int]]:
    """The figures under each seed: of the column's task, or of all."""
    seeds: dict[int, list[float | int]] = {}
    for cell in cells:
        if column.figure in cell.figures and column.task in (None, cell.task):
            seeds.setdefault(cell.seed, []).append(cell.figures[column.figure])
    return [some for _, some in sorted(seeds.items())]


def _spread(cells: Iterable[Cell], column: Column) -> Spread | None:
    seeds = _by_seed(cells, column)
    over_orders = [stdev(some) for some in seeds if len(some) > 1]
    values = over_orders if column.unit == "deviation" else [fmean(some) for some in seeds]
    if not values:
        return None
    return Spread(fmean(values), stdev(values) if len(values) > 1 else math.nan, len(values))


def _is_best(value: Spread | None, best: float) -> bool:
    return value is not None and value.mean == best


def _plain(value: Spread) -> dict[str, float | int | None]:
    deviation = None if math.isnan(value.deviation) else value.deviation
    return {"mean": value.mean, "deviation": deviation, "count": value.count}


def row(cells: Iterable[str]) -> str:
    """A line of a table in Markdown."""
    return "| " + " | ".join(one.replace("|", "\\|") for one in cells) + " |"
