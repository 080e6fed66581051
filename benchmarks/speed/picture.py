"""The curves of `growth`, as one small picture."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed.cells import Cell
from benchmarks.speed.table import curves
from matplotlib.figure import Figure

BLUE, ORANGE = "#2a6fbb", "#c8641b"


def draw(cells: Sequence[Cell], path: Path) -> None:
    """A panel a curve: processor seconds and peak memory over how many there are, axes linear."""
    found = curves([one for one in cells if one.figure == "cost"])
    if not found:
        return
    figure = Figure(figsize=(3.4 * len(found), 2.6), dpi=90, layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    for one, (what, points) in zip(axes, found.items(), strict=True):
        many = [point["many"] for point in points]
        one.plot(many, [point["ours"] for point in points], "o-", color=BLUE, markersize=3, label="processor seconds")
        one.set_xlabel(what)
        one.set_ylim(bottom=0)
        other = one.twinx()
        other.plot(many, [point["bytes"] / 1e6 for point in points], "s--", color=ORANGE, markersize=3, label="peak MB")
        other.set_ylim(bottom=0)
        one.tick_params(axis="y", labelcolor=BLUE)
        other.tick_params(axis="y", labelcolor=ORANGE)
        one.spines[["top"]].set_visible(False)
        other.spines[["top"]].set_visible(False)
    lines = [*axes[0].get_lines(), *figure.axes[len(found)].get_lines()]
    figure.legend(lines, [str(line.get_label()) for line in lines], loc="outside upper center", ncols=2, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
