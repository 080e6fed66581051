"""How good the foundation's methods are on four public data sets, with 16 examples a class, on the embedded model.

    python benchmarks/foundation.py --data DIR

DIR, or the variable PROMPTATLAS_DATA, holds a folder a data set (sst2, mr, ag_news, subj), each as `promptatlas --task`
reads it. Every cell is a line of JSON in the results file, written when it is measured; what is there is not measured
again, so a run that was stopped goes on. A Markdown table is written next to it. Methods have their default settings.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from promptatlas import registry
from promptatlas.bench import Cell, Column, Contender, Report, majority, measured, naive_bayes
from promptatlas.data.draw import few_shot
from promptatlas.data.read import read_task
from promptatlas.data.task import Task
from promptatlas.errors import DataError, PromptAtlasError
from promptatlas.lm.lm import LM
from promptatlas.lm.load import load
from promptatlas.prompting.make import prompt
from promptatlas.train.needs import Method

LM_NAME = "pocket-masked"
SHOTS, SEEDS, MOST, DRAW = 16, 5, 500, 0  # a class; draws; test examples; the seed that draws these


@dataclass(frozen=True)
class Pattern:
    """A data set's template and label words."""

    template: str
    words: Mapping[str, str]


SENTIMENT = Pattern("{text} It was {mask}.", {"negative": "terrible", "positive": "great"})
PATTERNS: Mapping[str, Pattern] = {
    "sst2": SENTIMENT,
    "mr": SENTIMENT,
    "ag_news": Pattern(
        "{mask} news: {title} {text}",
        {"Business": "business", "Sci/Tech": "technology", "Sports": "sports", "World": "world"},
    ),
    "subj": Pattern(
        "{text} This is {mask}.", {"objective": "true", "subjective": "great"}
    ),  # chosen on train, zero-shot
}
BASELINES = {"majority": majority, "naive Bayes": naive_bayes}
METHODS: Mapping[str, tuple[str, ...]] = {
    "zero-shot": (),
    "contextual_calibration": ("contextual_calibration",),
    "in_context": ("in_context",),
    "kate": ("kate",),
    "fine_tuning": ("fine_tuning",),
    "pattern_tuning": ("pattern_tuning",),
    "prompt_tuning": ("prompt_tuning",),
    "p_tuning_v2": ("p_tuning_v2",),
    "autoprompt": ("autoprompt",),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, and write the table; the exit code."""
    given = _arguments(argv)
    console = Console(stderr=True)
    folder = given.data or os.environ.get("PROMPTATLAS_DATA")
    if not folder or not Path(folder).is_dir():
        console.print(
            f"skipped: no data sets at {folder}" if folder else "skipped: say where the data sets are, --data"
        )
        return 0
    unknown = [one for one in given.methods if one not in (*BASELINES, *METHODS)]
    if unknown:
        console.print(f"no method {unknown[0]!r}: there are {', '.join((*BASELINES, *METHODS))}")
        return 2
    there = [name for name in given.tasks if (Path(folder) / name).is_dir()]
    for name in given.tasks:
        if name not in there:
            console.print(f"skipped: no {name} in {folder}")
    cells = _read(given.out)
    wanted = [(task, seed, name) for task in there for seed in range(given.seeds) for name in given.methods]
    known = {(one.task, one.seed, one.method) for one in cells}
    missing = [one for one in wanted if one not in known]
    if missing:
        lm = load(LM_NAME, "cpu")
        tasks = {name: _task(Path(folder) / name) for name in there}
        for task, seed, name in track(missing, description="cells", console=console):
            cells.append(_cell(lm, tasks[task], seed, name))
            _append(given.out, cells[-1])
    report = _report(cells)
    _write(given.out.with_suffix(".md"), report.to_markdown())
    Console().print(report)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, help="folder of data sets; PROMPTATLAS_DATA where not given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "foundation.json")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="draws of the examples")
    parser.add_argument("--tasks", nargs="+", choices=PATTERNS, default=list(PATTERNS))
    parser.add_argument("--methods", nargs="+", default=[*BASELINES, *METHODS], metavar="NAME")
    return parser.parse_args(argv)


def _task(folder: Path) -> Task:
    """A data set, its test examples cut to a fixed draw."""
    task = read_task(folder)
    pattern = PATTERNS[folder.name]
    words = {label: (word,) for label, word in pattern.words.items()}
    test = few_shot(task.test, min(MOST, len(task.test)), DRAW).drawn
    return replace(task, name=folder.name, test=test, template=pattern.template, words=words)


def _cell(lm: LM, task: Task, seed: int, name: str) -> Cell:
    """One method under one draw; no dev examples, so that all methods see the same few."""
    few = replace(task.few(SHOTS, seed, dev=0), dev=(), unlabeled=())
    if name in BASELINES:
        return Cell(method=name, task=task.name, lm="", seed=seed, figures=BASELINES[name](few)[0])
    contender = Contender(name, _methods(name, seed))
    found = measured(contender, lm, few, prompt(few.template or "", few.words))
    return Cell(method=name, task=task.name, lm=lm.name, seed=seed, figures=found.figures)


def _methods(name: str, seed: int) -> tuple[Method, ...]:
    return tuple(registry.seeded(one, seed) for one in METHODS[name])


def _how(name: str, task: str) -> str:
    """All that a cell depends on beside its task, seed and method's name."""
    settings = [] if name in BASELINES else [f"{one.name} {one}" for one in _methods(name, 0)]
    pattern = None if name in BASELINES else [PATTERNS[task].template, dict(PATTERNS[task].words)]
    return json.dumps([SHOTS, MOST, DRAW, pattern, settings])


def _read(path: Path) -> list[Cell]:
    """Cells measured before, under the settings of now. Others, and a last line cut off by a kill, leave the file."""
    if not path.is_file():
        return []
    kept: dict[str, Cell] = {}
    lines = path.read_text("utf-8").splitlines()
    for at, line in enumerate(lines, 1):
        try:
            found = json.loads(line)
            cell, how = Cell.from_json(found["cell"]), found["how"]
        except (ValueError, KeyError, TypeError, DataError) as error:
            if at < len(lines):
                raise DataError(f"{path}:{at} is no cell of this benchmark", hint="give another --out") from error
            continue
        known = cell.method in (*BASELINES, *METHODS) and cell.task in PATTERNS
        if known and how == _how(cell.method, cell.task):
            kept[line] = cell
    if len(kept) < len(lines):
        _write(path, "".join(f"{line}\n" for line in kept))
    return list(kept.values())


def _append(path: Path, cell: Cell) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"cell": cell.to_json(), "how": _how(cell.method, cell.task)}) + "\n")


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)


def _report(cells: Sequence[Cell]) -> Report:
    order = [*BASELINES, *METHODS]
    ordered = tuple(sorted(cells, key=lambda one: (order.index(one.method), one.task, one.seed)))
    tasks = [name for name in PATTERNS if any(cell.task == name for cell in cells)]
    seeds = len({cell.seed for cell in cells})
    return Report(
        title=f"{SHOTS} examples a class on {LM_NAME}",
        cells=ordered,
        columns=(
            *(Column(heading=name, figure="accuracy", task=name) for name in tasks),
            Column(heading="mean", figure="accuracy"),
            Column(heading="trained", figure="trained", unit="count"),
            Column(heading="stored", figure="stored", unit="bytes"),
            Column(heading="seconds", figure="seconds", unit="seconds"),
        ),
        note=(
            f"Accuracy in per cent on {MOST} test examples of each data set, mean ± deviation over {seeds} draws of "
            "the training examples; default settings, no dev examples. Seconds: of the processor, to learn and answer."
        ),
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PromptAtlasError as error:
        sys.exit(str(error))
