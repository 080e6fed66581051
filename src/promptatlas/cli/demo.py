"""`promptatlas demo`: eight ways to classify with few labels, on two embedded tasks, in one table and one page."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptatlas.cli import print as show
from promptatlas.cli.files import put
from promptatlas.cli.options import POCKET, Json, model
from promptatlas.errors import SettingError

if TYPE_CHECKING:
    from promptatlas.bench import Cell, Column, Contender, Report, Sample
    from promptatlas.data.example import Example
    from promptatlas.data.task import Task
    from promptatlas.lm.lm import LM
    from promptatlas.prompting import Ensemble, Prompt
    from promptatlas.train.needs import Method

TASKS = ("reviews", "headlines")
METHODS: Mapping[str, tuple[str, ...]] = {
    "zero-shot": (),
    "zero-shot, calibrated": ("contextual_calibration",),
    "fine-tuning, head": ("fine_tuning",),
    "fine-tuning, pattern": ("pattern_tuning",),
    "prompt tuning": ("prompt_tuning",),
    "deep prompt tuning": ("p_tuning_v2",),
}
SAMPLED = "fine-tuning, pattern"  # whose answers are shown: it keeps the slot, so there are words to read
SAMPLES = {"reviews": ("positive", "negative"), "headlines": ("science",)}  # the first test example of each label
WORDS = 5  # shown at a slot

Settings = Mapping[str, Mapping[str, Any]]  # method -> settings
Tell = Callable[[str, int, int], None]  # what is being done, how many cells are done, of how many


def demo(
    out: Annotated[Path, typer.Option(help="Where the HTML page goes.", dir_okay=False)] = Path("demo.html"),
    seeds: Annotated[int, typer.Option(help="Draws of the labelled examples.")] = 3,
    shots: Annotated[int, typer.Option(help="Labelled examples a class.")] = 16,
    as_json: Json = False,
) -> None:
    """Compare ways to classify with few labels, on the embedded model and tasks; a few minutes of computing."""
    for name, value in {"seeds": seeds, "shots": shots}.items():
        if value < 1:
            raise SettingError(f"`--{name}` is {value}", hint="give 1 or more")
    if not out.parent.is_dir():
        raise SettingError(f"`{out}` can't be written: there is no folder `{out.parent}`", hint="give another --out")
    with show.Bar() as bar:
        bar.step("starting")
        _one_thread()
        lm = model(POCKET, "cpu", "float32", bar)
        report = compared(lm, _tasks(), range(seeds), shots, tell=_teller(bar))
    if as_json:
        show.data({**report.to_json(), "page": str(out)})
    else:
        show.drawn(report)
    put(out, report.to_html())
    show.note(f"the same with charts: {out.resolve()}")


def compared(
    lm: "LM",
    tasks: "Sequence[Task]",
    seeds: Sequence[int],
    shots: int,
    *,
    settings: Settings | None = None,
    tell: Tell | None = None,
) -> "Report":
    """Every method on every task under every seed.

    Args:
        lm: the language model.
        tasks: the embedded ones.
        seeds: of the draws and the methods.
        shots: examples a class.
        settings: of methods, by name, where they aren't to be their own.
        tell: told of progress.
    """
    from promptatlas.bench import Report

    cells: list[Cell] = []
    samples: list[Sample] = []
    total = len(tasks) * len(seeds) * (2 + len(METHODS))
    for task in tasks:
        for seed in seeds:
            few = task.few(shots, seed, dev=0)
            cells += _baselines(few, seed)
            for contender in _contenders(seed, settings or {}):
                if tell is not None:
                    tell(f"{task.name}, seed {seed}: {contender.name}", len(cells), total)
                cell, learned = _measured(contender, lm, few, seed)
                cells.append(cell)
                if contender.name == SAMPLED and seed == seeds[0]:
                    samples += _samples(lm, few, learned)
    title = f"{shots} labelled examples a class, on {lm.name}"
    return Report(
        title=title, cells=tuple(cells), columns=_columns(tasks), note=_note(len(seeds)), samples=tuple(samples)
    )


def _tasks() -> "list[Task]":
    from promptatlas.data.read import read_task

    return [read_task(name) for name in TASKS]


def _contenders(seed: int, settings: Settings) -> "list[Contender]":
    from promptatlas import registry
    from promptatlas.bench import Contender

    def made(name: str) -> "Method":
        return registry.seeded(name, seed, **settings.get(name, {}))

    return [Contender(name, tuple(made(one) for one in chain)) for name, chain in METHODS.items()]


def _baselines(task: "Task", seed: int) -> "list[Cell]":
    from promptatlas.bench import Cell, majority, naive_bayes

    figures = {"majority": majority(task), "naive Bayes": naive_bayes(task)}
    return [Cell(method=name, task=task.name, lm="", seed=seed, figures=some) for name, (some, _) in figures.items()]


def _measured(contender: "Contender", lm: "LM", task: "Task", seed: int) -> "tuple[Cell, Prompt | Ensemble]":
    from promptatlas.bench import Cell, measured
    from promptatlas.prompting.make import prompt

    found = measured(contender, lm, task, prompt(task.template or "", task.words))
    cell = Cell(method=contender.name, task=task.name, lm=lm.name, seed=seed, figures=found.figures)
    return cell, found.prompt


def _samples(lm: "LM", task: "Task", prompt: "Prompt | Ensemble") -> "list[Sample]":
    """The first test example of some labels, with what the prompt answers and what the model would say."""
    from promptatlas.bench import Sample
    from promptatlas.prompting.make import prompt as made

    start = made(task.template or "", task.words)  # tuned words compare labels alone; the model's own can be read
    chosen = [next(one for one in task.test if one.target == label) for label in SAMPLES[task.name]]
    answers = prompt.predict(lm, chosen)
    return [
        Sample(
            text=str(one.fields["text"]),
            target=str(one.target),
            probabilities=dict(answer.probabilities),
            words=_words(lm, start, one),
            by=SAMPLED,
        )
        for one, answer in zip(chosen, answers, strict=True)
    ]


def _words(lm: "LM", prompt: "Prompt", example: "Example") -> dict[str, float]:
    """The likeliest words at the slot."""
    from promptatlas.prompting.explain import likeliest

    (row,) = lm.encode([prompt.render(lm, example)], prompt.parts)
    (top,) = likeliest(lm, row, prompt.parts, WORDS)
    return {one.word: one.probability for one in top}


def _columns(tasks: "Sequence[Task]") -> "tuple[Column, ...]":
    from promptatlas.bench import Column

    return (
        *(Column(heading=f"{one.name}, accuracy", figure="accuracy", task=one.name) for one in tasks),
        Column(heading="trained", figure="trained", unit="count"),
        Column(heading="stored", figure="stored", unit="bytes"),
        Column(heading="seconds", figure="seconds", unit="seconds"),
    )


def _note(seeds: int) -> str:
    draws = f"mean ± deviation over {seeds} draws of the examples" if seeds > 1 else "one draw of the examples"
    return (
        f"Accuracy on the test examples in per cent, {draws}. Trained: numbers that training moved. Stored: what keeps "
        "the learned prompt takes on the disk, beside the model. Seconds: of the processor, to learn and to answer "
        "the test examples."
    )


def _teller(bar: show.Bar) -> Tell:
    from promptatlas.train.run import Event

    return lambda what, done, total: bar.listen(Event(what, done, total))


def _one_thread() -> None:
    """One core, unless told otherwise: batches this small go no faster on several, and cost more."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
