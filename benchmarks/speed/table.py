"""The page: a row a figure with the goal and the floor beside it, where operations go, and the curves' slopes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import log
from typing import Any

from benchmarks.speed.cells import Cell
from benchmarks.speed.works import WORKS

NOTE = """\
Written by `python -m benchmarks.speed`. Random weights and made-up words, one token each; texts are as long as those of
SST-2 and AG News (words and punctuation marks, half and half); logical batches of 16, drawn by seed; float32, one
thread of a CPU that others use too. **Ratio** is ours to the peer's; **floor** the ratio that is counted, by formula,
for the same rows without padding, with the head at the slot only, and with what all begin with run once (`floor.py`).

- **operations**: of a step or a call, forward and backward, as `torch.utils.flop_counter` counts them, the CPU's fused
  attention too; causal attention counts as if no key were hidden. A peer in training mode has dropout, as its
  documentation has it; its attention then is not fused, and counts less in the backward pass.
- **time**: wall time, both parties in turn on the same batches; seconds are medians, the ratio is the median of pairs.
  Where operations have a goal, time is to go in the same direction: a ratio below 1.
- **memory**: what a process holds at most in a training step, less what it held before, the model loaded and used once.
- **share**: of the wall time of training steps, what no operation of torch is under way in, under torch's profiler.
"""
UNITS: Mapping[str, tuple[float, str, str]] = {
    "operations": (1e-9, "{:.1f}", "GFLOP"), "time": (1, "{:.2f}", "s"), "memory": (1e-6, "{:.0f}", "MB"),
    "share": (100, "{:.1f}", "%"),
}  # fmt: skip
HEAD = ("work", "model, what, against", "figure", "ours", "peer", "ratio", "floor", "goal", "met")
NAMES = {
    "soft": "soft-prompt training", "openprompt": "the same, padded to 128", "long": "soft-prompt training, long",
    "prefix": "prefix tuning", "shots": "few-shot scoring", "mixed": "mixed batch", "memory": "training step",
    "overhead": "engine overhead",
}  # fmt: skip


def markdown(cells: Sequence[Cell]) -> str:
    """The whole page."""
    compared = [one for one in cells if one.figure != "cost"]
    parts = ["# Speed", "", NOTE.rstrip(), "", *_table(HEAD, (_row(one) for one in compared))]
    if counted := [one for one in compared if one.figure == "operations"]:
        parts += [
            "",
            "## Where operations go",
            "",
            "GFLOP of all that was counted: products of matrices + attention.",
            "",
        ]
        parts += _table(("model, what, against", "ours", "peer", "floor"), (_kinds(one) for one in counted))
    if absent := list(missing(cells)):
        parts += ["", "## Not measured", "", *(f"- {one}" for one in absent)]
    if grown := [one for one in cells if one.figure == "cost"]:
        parts += ["", "## As work grows", "", "![cost as work grows](speed.png)", "", *_grown(grown)]
    if versions := list(dict.fromkeys(one.beside for one in cells if one.beside)):
        parts += ["", "## Versions", "", *(f"- {one}" for one in versions)]
    return "\n".join(parts) + "\n"


def missing(cells: Iterable[Cell]) -> Iterator[str]:
    """Figures there should be, and are not."""
    there = {one.key for one in cells}
    for work, cases in WORKS.items():
        for case in cases:
            for figure in case.figures:
                if (work, case.name, figure) not in there:
                    yield f"{work}: {case.name}: {figure}"


def _row(cell: Cell) -> list[str]:
    values, (scale, form, unit) = cell.values, UNITS[cell.figure]
    goal = goal_of(cell)
    floor = f"{values['floor'] / values['peer']:.3f}" if "floor" in values else ""
    shown = [f"{form.format(values[name] * scale)} {unit}" for name in ("ours", "peer")]
    met = "" if goal is None else "yes" if values["ratio"] <= goal else "no"
    ratio = "" if cell.figure == "share" else f"{values['ratio']:.3f}"
    wanted = "" if goal is None else f"{goal:.0%}" if cell.figure == "share" else f"{goal:.2f}"
    asked = f", {values['questions']} questions" if "questions" in values else ""
    return [NAMES.get(cell.work, cell.work), cell.case + asked, cell.figure, *shown, ratio, floor, wanted, met]


def goal_of(cell: Cell) -> float | None:
    """What the cell's case is to reach."""
    for case in WORKS.get(cell.work, ()):
        if case.name == cell.case:
            return case.goals.get(cell.figure)
    return None


def _kinds(cell: Cell) -> list[str]:
    values = cell.values
    pairs = [values["ours by kind"], values["peer by kind"]]
    shown = [f"{one['products'] / 1e9:.1f} + {one['attention'] / 1e9:.1f}" for one in pairs]
    return [cell.case, *shown, f"{values['floor'] / 1e9:.1f}" if "floor" in values else ""]


def _grown(cells: Sequence[Cell]) -> list[str]:
    rows = [
        [one.case, f"{one.values['ours']:.2f} s", f"{one.values['ours'] / one.values['many'] * 1e3:.2f} ms",
         f"{one.values['bytes'] / 1e6:.0f} MB"]
        for one in cells
    ]  # fmt: skip
    lines = _table(("model, how many", "processor time", "a piece", "peak memory"), rows)
    return [*lines, "", *(f"- {what}: {said}" for what, said in slopes(cells).items())]


def slopes(cells: Sequence[Cell]) -> dict[str, str]:
    """Of each curve how fast it rises towards its end: 1 is a straight line through zero."""
    return {
        what: f"twice as many cost 2^{rise(points, lambda one: one['ours']):.2f} times the time and "
        f"2^{rise(points, lambda one: one['bytes']):.2f} times the memory"
        for what, points in curves(cells).items()
        if len(points) > 1
    }


def curves(cells: Sequence[Cell]) -> dict[str, list[Mapping[str, Any]]]:
    """What grows -> its points' values, in order."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        found.setdefault(cell.case.rpartition(" ")[2], []).append(cell.values)
    return {what: sorted(points, key=lambda one: one["many"]) for what, points in found.items()}


def rise(points: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float]) -> float:
    """The slope between the last two points on logarithmic axes."""
    first, last = points[-2:]
    return log(max(value(last), 1e-9) / max(value(first), 1e-9)) / log(last["many"] / first["many"])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    made = [_line(row) for row in rows]
    return [_line(head), _line(["---"] * len(head)), *made]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(one.replace("|", "\\|") for one in cells) + " |"
