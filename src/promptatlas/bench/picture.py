"""Pictures of a plan's cells: score against numbers trained, and against labels."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from promptatlas.bench.report import Cell
from promptatlas.bench.summary import metric

SIZE = (6.4, 4.6)  # inches of a panel
MARKS = "osD^vP*X"


def draw(cells: Sequence[Cell], path: Path) -> None:
    """A column a task and language model: score by numbers trained; below, by labels where there are several counts.

    Where demonstrations are shown in several orders: the scores of all draws and orders, method by method.
    """
    found = [one for one in cells if one.lm]
    columns = list(dict.fromkeys((one.lm, one.task) for one in found))
    several = len({one.shots for one in found}) > 1
    orders = any(one.order for one in found)
    figure = Figure(figsize=(SIZE[0] * max(1, len(columns)), SIZE[1] * (1 + several)), layout="constrained")
    panels = figure.subplots(1 + several, max(1, len(columns)), squeeze=False)
    for at, (lm, task) in enumerate(columns):
        some = [one for one in found if (one.lm, one.task) == (lm, task)]
        fewest = min(one.shots for one in some)
        few = [one for one in some if one.shots == fewest]
        (_boxes if orders else _scatter)(panels[0][at], few, f"{task}, {lm}, {fewest} labels a class")
        if several:
            _curves(panels[1][at], some, f"{task}, {lm}")
    fresh = path.with_name(f".{path.stem}.new{path.suffix}")
    figure.savefig(fresh, dpi=80)
    fresh.replace(path)


def _scatter(panel: Any, cells: Sequence[Cell], title: str) -> None:
    score = metric(cells)
    for at, name in enumerate(dict.fromkeys(one.method for one in cells)):
        mine = [one for one in cells if one.method == name]
        x, y = max(1.0, _mean(mine, "trained")), _mean(mine, score)
        panel.plot(x, y, MARKS[at % len(MARKS)], markersize=6)
        panel.annotate(name, (x, y), xytext=(5, 3), textcoords="offset points", fontsize=7)
    panel.set(xscale="log", xlabel="numbers trained (1: none)", ylabel=score, title=title)
    panel.grid(alpha=0.3)


def _boxes(panel: Any, cells: Sequence[Cell], title: str) -> None:
    score, by_method = metric(cells), _by(cells, lambda one: one.method)
    values = [[one.figures[score] for one in some] for some in by_method.values()]
    panel.boxplot(values, orientation="horizontal", tick_labels=list(by_method), flierprops={"markersize": 3})
    panel.invert_yaxis()
    panel.tick_params(axis="y", labelsize=7)
    panel.set(xlabel=f"{score}, each draw in each order", title=title)
    panel.grid(alpha=0.3, axis="x")


def _curves(panel: Any, cells: Sequence[Cell], title: str) -> None:
    score, by_shots = metric(cells), _by(cells, lambda one: one.method)
    for at, (name, mine) in enumerate(by_shots.items()):
        points = [(shots, _mean(some, score)) for shots, some in sorted(_by(mine, lambda one: one.shots).items())]
        if len(points) > 1:
            panel.plot(*zip(*points, strict=True), marker=MARKS[at % len(MARKS)], label=name)
    if not panel.get_legend_handles_labels()[0]:  # nothing was measured from several numbers of labels
        panel.set_axis_off()
        return
    shots = sorted({one.shots for one in cells})
    panel.set(xscale="log", xlabel="labels a class", ylabel=score, title=title)
    panel.set_xticks(shots, list(map(str, shots)), minor=False)
    panel.set_xticks([], minor=True)
    panel.grid(alpha=0.3)
    panel.legend(fontsize=7)


def _mean(cells: Sequence[Cell], figure: str) -> float:
    return fmean(one.figures[figure] for one in cells if figure in one.figures)


def _by(cells: Sequence[Cell], key: Callable[[Cell], Any]) -> dict[Any, list[Cell]]:
    found: dict[Any, list[Cell]] = {}
    for one in cells:
        found.setdefault(key(one), []).append(one)
    return found
