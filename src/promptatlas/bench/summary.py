"""A plan's cells as tables, one a language model and number of shots, and what is clearly ahead of what."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from promptatlas.bench.compare import Difference, paired
from promptatlas.bench.page import grid, page
from promptatlas.bench.plan import Plan
from promptatlas.bench.report import Cell, Column, Report, Unit, row
from promptatlas.bench.worth import worth

WORTH = "Labels of each class that one method saves beside another, over the scores both come to"
WORTH_HEADS = ("method", "beside", "task", "language model", "labels saved", "scores", "measured at")
ORDERS = " Over orders: the deviation over orders of the same demonstrations, the mean over draws."
POINTS = ("bleu", "chrf")  # scores out of a hundred
COSTS = ("trained", "stored", "seconds", "steps", "operations", "enough", "answering")  # figures that aren't a score


@dataclass(frozen=True)
class Ahead:
    """How far each method is ahead of one of them, in one table's cells.

    Attributes:
        title: says ahead of which.
        tasks: the columns.
        units: of their scores.
        rows: of each method, its differences by task; None where there is none.
    """

    title: str
    tasks: tuple[str, ...]
    units: tuple[Unit, ...]
    rows: tuple[tuple[str, tuple[Difference | None, ...]], ...]

    @property
    def heads(self) -> list[str]:
        """Of the columns."""
        return ["method", *self.tasks]

    @property
    def lines(self) -> list[list[tuple[str, bool]]]:
        """Each text, and whether the difference is clear of zero."""
        return [
            [
                (name, False),
                *((_shown(one, unit), bool(one and one.clear)) for one, unit in zip(some, self.units, strict=True)),
            ]
            for name, some in self.rows
        ]

    def to_markdown(self) -> str:
        """The table under its title."""
        rows = [row(f"**{text}**" if best else text for text, best in line) for line in self.lines]
        rule = row(["---", *("---:" for _ in self.tasks)])
        return "\n".join([f"{self.title}:", "", row(self.heads), rule, *rows]) + "\n"


@dataclass(frozen=True)
class Summary:
    """All tables of a plan.

    Attributes:
        title: of the plan.
        note: what holds for all.
        parts: a report a language model and number of shots, each with its differences where the plan asks for them.
        worths: what one method is worth beside another in labels, as the lines of a table.
    """

    title: str
    note: str
    parts: tuple[tuple[Report, Ahead | None], ...]
    worths: tuple[tuple[str, ...], ...] = ()

    def __rich__(self) -> RenderableType:
        """Table after table."""
        drawn: list[RenderableType] = [Text(self.title, style="bold"), Text(self.note, style="dim")]
        for report, ahead in self.parts:
            drawn += [Text(""), report]
            drawn += [] if ahead is None else [Text(""), _drawn(ahead.title, ahead.heads, ahead.lines)]
        if self.worths:
            drawn += [Text(""), _drawn(WORTH, WORTH_HEADS, self._worth_lines())]
        return Group(*drawn)

    def to_markdown(self) -> str:
        """All as Markdown."""
        parts = [f"# {self.title}\n", f"{self.note}\n"]
        for report, ahead in self.parts:
            parts.append(f"#{report.to_markdown()}")
            if ahead is not None:
                parts.append(ahead.to_markdown())
        if self.worths:
            lines = [f"## {WORTH}", "", row(WORTH_HEADS), row(["---"] * len(WORTH_HEADS)), *map(row, self.worths)]
            parts.append("\n".join(lines) + "\n")
        return "\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """All as plain values."""
        worths = [dict(zip(WORTH_HEADS, line, strict=True)) for line in self.worths]
        tables = [_json(*part) for part in self.parts]
        return {"title": self.title, "note": self.note, "tables": tables, "worths": worths}

    def to_html(self) -> str:
        """One page that needs nothing else."""
        sections = [f"<h1>{escape(self.title)}</h1><p>{escape(self.note)}</p>"]
        for report, ahead in self.parts:
            sections.append(report.section())
            if ahead is not None:
                sections.append(f"<h2>{escape(ahead.title)}</h2>{grid(ahead.heads, ahead.lines)}")
        if self.worths:
            sections.append(f"<h1>{escape(WORTH)}</h1>{grid(WORTH_HEADS, self._worth_lines())}")
        return page(self.title, sections)

    def _worth_lines(self) -> list[list[tuple[str, bool]]]:
        """Each text; none stands out."""
        return [[(text, False) for text in line] for line in self.worths]


def summary(plan: Plan, cells: Sequence[Cell]) -> Summary:
    """The tables of a plan's cells, in the plan's order."""
    names = list(dict.fromkeys(asked.method for asked in plan.cells))
    groups = dict.fromkeys((asked.lm, asked.shots) for asked in plan.cells if asked.lm)
    parts = []
    for lm, shots in groups:
        some = [one for one in cells if one.shots == shots and one.lm == lm]
        tasks = [task for task in plan.tasks if any(one.task == task for one in some)]
        some += [one for one in cells if one.shots == shots and not one.lm and one.task in tasks]
        some.sort(key=lambda one: (names.index(one.method), one.seed))
        if some:
            parts.append((_report(lm, shots, some, tasks), _ahead(plan, some, tasks)))
    return Summary(plan.title, _note(plan), tuple(parts), tuple(_worths(plan, cells)))


def _report(lm: str, shots: int, cells: Sequence[Cell], tasks: Sequence[str]) -> Report:
    figures = {task: metric(one for one in cells if one.task == task) for task in tasks}
    columns = [
        Column(heading=f"{task}, {figures[task]}", figure=figures[task], task=task, unit=_unit(figures[task]))
        for task in tasks
    ]
    columns += [
        Column(heading=f"{task}, over orders", figure=figures[task], task=task, unit="deviation")
        for task in tasks
        if any(one.order for one in cells if one.task == task)
    ]
    costs = [
        Column(heading="trained", figure="trained", unit="count"),
        Column(heading="stored", figure="stored", unit="bytes"),
        Column(heading="operations a step", figure="operations", unit="count"),
        Column(heading="steps to 95 %", figure="enough", unit="count"),
        Column(heading="seconds", figure="seconds", unit="seconds"),
    ]
    if any("answering" in one.figures for one in cells):
        costs.append(Column(heading="operations an answer", figure="answering", unit="count"))
    return Report(title=f"{lm}, {shots} labels a class", cells=tuple(cells), columns=(*columns, *costs))


def _ahead(plan: Plan, cells: Sequence[Cell], tasks: Sequence[str]) -> Ahead | None:
    by: dict[tuple[str, str], list[Cell]] = {}
    for one in cells:
        by.setdefault((one.method, one.task), []).append(one)
    names = [name for name in dict.fromkeys(one.method for one in cells) if name != plan.against]
    if not any((plan.against, task) in by for task in tasks):
        return None
    rows = []
    for name in names:
        found = []
        for task in tasks:
            mine, theirs = by.get((name, task), []), by.get((plan.against, task), [])
            found.append(paired(mine, theirs, metric(mine)) if mine and theirs else None)
        rows.append((name, tuple(found)))
    title = f"Points ahead of {plan.against}, with 95 % intervals (paired bootstrap over draws and test examples)"
    units = tuple(_unit(metric(one for one in cells if one.task == task)) for task in tasks)
    return Ahead(title, tuple(tasks), units, tuple(rows))


def _unit(figure: str) -> Unit:
    return "points" if figure in POINTS else "share"


def _worths(plan: Plan, cells: Sequence[Cell]) -> Iterator[tuple[str, ...]]:
    """A line a pair, language model and task that both were measured on from two numbers of labels or more."""
    for (one, other), (lm, task) in product(plan.worth, dict.fromkeys((a.lm, a.task) for a in plan.cells if a.lm)):
        both = [_runs(cell for cell in cells if (cell.method, cell.lm, cell.task) == (name, lm, task))
                for name in (one, other)]  # fmt: skip
        if both[0].keys() != both[1].keys() or len(both[0]) < 2:
            continue
        found = worth(*both)
        spread = "" if math.isnan(found.spread) else f" ± {found.spread:.1f}"
        value = found.why or f"{found.average:+.1f}{spread}"
        sizes = ", ".join(map(str, sorted(both[0])))
        yield one, other, task, lm, value, f"{found.low:.3f} to {max(found.low, found.high):.3f}", sizes


def _runs(cells: Iterable[Cell]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for one in cells:
        found.setdefault(one.shots, []).append(one.figures[metric([one])])
    return found


def metric(cells: Iterable[Cell]) -> str:
    """The figure that is a score."""
    return next(name for one in cells for name in one.figures if name not in COSTS)


def _note(plan: Plan) -> str:
    several = f"{plan.test} test examples" if plan.test else "All test examples"
    profiled = "the first draw" if plan.profiled == 1 else f"the first {plan.profiled} draws"
    return (
        f"{plan.note} {several}; scores in per cent, mean ± deviation over draws of the labelled examples. Trained: "
        "numbers that training moved. Stored: the saved prompt, beside the model. Operations a step, and steps until "
        f"95 % of the final score: of {profiled}. Seconds: of the processor, to learn and to answer."
        f"{ORDERS if any(one.order for one in plan.cells) else ''}"
    ).strip()


def _shown(one: Difference | None, unit: Unit) -> str:
    if one is None:
        return "-"
    scale = 100 if unit == "share" else 1
    return f"{scale * one.mean:+.1f} [{scale * one.low:+.1f}, {scale * one.high:+.1f}]"


def _drawn(title: str, heads: Sequence[str], lines: Sequence[Sequence[tuple[str, bool]]]) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False)
    for at, head in enumerate(heads):
        table.add_column(head, justify="right" if at else "left")
    for line in lines:
        table.add_row(*(Text(text, style="bold" if best else "") for text, best in line))
    return table


def _json(report: Report, ahead: Ahead | None) -> dict[str, Any]:
    rows = report.to_json()["rows"]
    if ahead is None:
        return {"title": report.title, "rows": rows}
    found = {name: dict(zip(ahead.tasks, map(_plain, some), strict=True)) for name, some in ahead.rows}
    return {"title": report.title, "rows": rows, "ahead": {"title": ahead.title, "rows": found}}


def _plain(one: Difference | None) -> dict[str, float] | None:
    return None if one is None else {"mean": one.mean, "low": one.low, "high": one.high, "draws": one.draws}
