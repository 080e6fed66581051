"""`promptatlas evaluate`: how good a saved prompt is on a task."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptatlas.cli import print as show
from promptatlas.cli.options import Device, Folder, Json, OtherLm, SameDtype, TaskName, members, saved
from promptatlas.cli.print import Bar
from promptatlas.cli.writing import Beams, MaxNew, decoding
from promptatlas.errors import DataError, SettingError, near

if TYPE_CHECKING:
    from promptatlas.data.example import Example
    from promptatlas.data.metric import Measure
    from promptatlas.data.task import Task
    from promptatlas.lm.ask import Decode

SPLITS = ("train", "dev", "test")
MEASURED = ("label", "choice", "number", "tags", "text")  # kinds of task
CHUNK = 256
WRITTEN = 32  # texts between two signs of life


def evaluate(
    folder: Folder,
    task: TaskName,
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    lm: OtherLm = None,
    device: Device = None,
    dtype: SameDtype = None,
    beams: Beams = None,
    max_new: MaxNew = None,
    as_json: Json = False,
) -> None:
    """Measure a saved prompt on a task, with 95 % bootstrap intervals."""
    if split not in SPLITS:
        raise SettingError(f"there is no split `{split}` to evaluate on", hint=near(split, SPLITS))
    with show.Bar() as bar:
        from promptatlas.data.read import read_task
        from promptatlas.prompting.make import check_fit

        found = read_task(task)
        examples = {"train": found.train, "dev": found.dev, "test": found.test}[split]
        if not examples:
            raise DataError(f"`{found.name}` has no {split} examples", hint="try another --split")
        prompt, model = saved(folder, lm, device, dtype, bar)
        for one in members(prompt):
            check_fit(one, found)
        how = decoding(prompt, model, beams, max_new)
        from promptatlas.lm.cost import counted

        began = time.perf_counter()
        with counted(model) as cost:
            measures = measured(prompt, model, found, examples, bar, how)
        seconds = time.perf_counter() - began
        if split == "test" and {one.key for one in found.train} & {one.key for one in examples}:
            show.note(f"`{found.name}` is one file: its test examples may be what the prompt was learned from")
    each = cost.each(len(examples))
    if as_json:
        metrics = {name: one.value for name, one in measures.items()}
        intervals = {name: [one.low, one.high] for name, one in measures.items()}
        about = {"task": found.name, "split": split, "lm": model.name, "seconds": round(seconds, 3)}
        show.data({"metrics": metrics, "intervals": intervals, "examples": len(examples), **about, "each": each})
        return
    rows = [(one.name, one.value, one.low, one.high) for one in measures.values()]
    show.table(("metric", "value", "low", "high"), rows, title=f"{found.name}, {len(examples):,} {split} examples")
    show.text(show.spent(each))


def measured(
    prompt: Any, lm: Any, task: "Task", examples: "Sequence[Example]", bar: Bar, how: "Decode | None" = None
) -> "dict[str, Measure]":
    """What a prompt gets right, by all metrics of the task's kind; the task's own metric first.

    Raises:
        DataError: a task of several labels an example.
    """
    from promptatlas.data.metric import measure

    if task.kind not in MEASURED:
        raise DataError(
            f"`{task.name}` is of kind {task.kind}, which a prompt can't be measured on yet",
            hint="give a task of kind label, choice, number, tags or text",
        )
    bar.step("predicting", len(examples))
    answers, chunk = [], WRITTEN if task.kind == "text" else CHUNK
    for start in range(0, len(examples), chunk):
        some = examples[start : start + chunk]
        answers += [one.value for one in prompt.predict(lm, some, how=how)]
        bar.advance(len(some))
    measures = measure(task.kind, [one.target for one in examples], answers, labels=task.labels, none=task.none)
    return dict(sorted(measures.items(), key=lambda pair: pair[0] != task.metric))
