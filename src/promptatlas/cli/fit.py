"""`promptatlas fit`: a method on a task, and the prompt it learns, saved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from promptatlas.cli import print as show
from promptatlas.cli import unfinished
from promptatlas.cli.given import pairs_of, tries_of, words_of
from promptatlas.cli.options import POCKET, Device, Dtype, Json, LmName
from promptatlas.cli.unfinished import Request
from promptatlas.errors import SettingError, near
from promptatlas.train.folds import KINDS

MethodName = Annotated[
    str | None, typer.Argument(metavar="METHOD", help="See `promptatlas methods`.", show_default=False)
]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task", help="An embedded name, a folder of train|dev|test|unlabeled.jsonl, or one file.", show_default=False
    ),
]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="The folder the prompt is saved in.", show_default=False)]
TemplateText = Annotated[
    str | None,
    typer.Option(
        "--template", help='Such as "{text} It was {mask}."; the task\'s own where it has one.', show_default=False
    ),
]
WordLists = Annotated[
    list[str] | None,
    typer.Option(
        "--words",
        help="label=word,word (repeatable), or a JSON or TSV file; the task's own where it has some.",
        show_default=False,
    ),
]
Shots = Annotated[int, typer.Option(min=0, help="Labelled examples of each label, of tags in all; 0 is all there are.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the method (repeatable).", show_default=False),
]
Tries = Annotated[
    list[str] | None,
    typer.Option(
        "--try",
        metavar="KEY=VALUE,VALUE",
        help="Values to choose among, of a setting, of `template`, or of `words` (label=word;label=word). Repeatable: "
        "a template, words or a list each time; of several keys, every combination is tried.",
        show_default=False,
    ),
]
Select = Annotated[
    str,
    typer.Option(
        metavar="cv|mdl|dev",
        help="How to choose among what is tried. cv: by the loss on examples left out of training. mdl: by the code "
        "length of the labels, each block after training on those before it. dev: by the loss on the dev examples.",
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Go on with the fit that was to write DIR, as it was asked for.", show_default=False
    ),
]


def fit(
    method: MethodName = None,
    task: TaskName = None,
    out: Out = None,
    lm: LmName = POCKET,
    template: TemplateText = None,
    words: WordLists = None,
    shots: Shots = 0,
    seed: Annotated[int, typer.Option(help="Of the draw and of the method.")] = 0,
    settings: Settings = None,
    paper: Annotated[bool, typer.Option("--paper", help="The paper's settings where none is given.")] = False,
    tries: Tries = None,
    select: Select = "cv",
    folds: Annotated[int, typer.Option(min=2, help="Of cv, or blocks of mdl; as many fits for each value tried.")] = 8,
    device: Device = None,
    dtype: Dtype = "float32",
    resume: Resume = None,
    checkpoint: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Time between two checkpoints.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Learn a prompt for a task by one of the methods, and save it.

    With --try it first chooses among values by the training examples alone, then learns from all of them.

    A fit that was stopped or killed goes on with `promptatlas fit --resume DIR` and ends as if it hadn't been.
    """
    if resume is not None:
        if any((method, task, out, template, words, settings, paper, shots, tries)):
            raise SettingError(
                "`--resume` goes on with what was asked for then", hint="give the folder, and nothing else"
            )
        folder = unfinished.find(resume)
        request, out = unfinished.read(folder), folder.with_name(folder.name.removesuffix(unfinished.ENDING))
    else:
        given = {"METHOD": method, "--task": task, "--out": out}
        missing = [name for name, value in given.items() if value is None]
        if method is None or task is None or out is None:
            raise SettingError(
                f"`fit` needs {missing[0]}", hint="promptatlas fit METHOD --task TASK --out DIR; --help says more"
            )
        chosen_among = tries_of(tries)
        _check(select, chosen_among, {**pairs_of(settings), "template": template, "words": words})
        request = Request(
            method=method, lm=lm, task=task, template=template, words=words_of(words), shots=shots, seed=seed,
            settings=pairs_of(settings), paper=paper, tries=chosen_among, select=select, folds=folds,
            device=device, dtype=dtype, folder=str(Path.cwd()),
        )  # fmt: skip
    from promptatlas.cli.work import work

    with show.Bar() as bar:
        report = work(request, out, checkpoint, bar)
    if as_json:
        show.data(report)
    else:
        show.pairs(_rows(report), title=f"{report['method']} on {report['task']}")
        if "choice" in report:
            _tried(report["choice"])


def _check(select: str, tries: Mapping[str, object], given: Mapping[str, object]) -> None:
    """Whether there is such a way to choose, and nothing is both given and tried."""
    if select not in KINDS:
        raise SettingError(f"there is no selection `{select}`", hint=near(select, KINDS))
    both = [key for key in tries if given.get(key) is not None]
    if both:
        raise SettingError(f"`{both[0]}` is both given and tried", hint="give all its values with --try")


def _tried(choice: dict[str, Any]) -> None:
    show.text()
    rows = [(one["name"], one["value"], one["loss"], one["accuracy"], one["failed"]) for one in choice["scores"]]
    columns = ("tried", "criterion", "nats an example", "accuracy", "failed")
    title = f"chosen by {choice['how']['kind']}: {choice['chosen']}"
    failed = any(one[-1] for one in rows)
    show.table(columns if failed else columns[:-1], rows if failed else [one[:-1] for one in rows], title=title)


def _rows(report: dict[str, Any]) -> list[tuple[str, show.Cell]]:
    rows: list[tuple[str, show.Cell]] = [
        ("language model", report["lm"]),
        ("train examples", report["examples"]),
        ("numbers trained", report["trained"]),
        ("bytes stored", report["bytes"]),
        ("seconds", f"{report['seconds']:.1f}"),
    ]
    rows += [(f"dev {name}", f"{value:.4f} of {report['dev_examples']}") for name, value in report["dev"].items()]
    return [*rows, ("saved in", report["out"])]
