"""`promptatlas auto`: the best of a portfolio for few labels, saved, and a page that says why and how good it is."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from promptatlas.auto import BUDGET
from promptatlas.cli import print as show
from promptatlas.cli import unfinished
from promptatlas.cli.files import put
from promptatlas.cli.fit import WordLists
from promptatlas.cli.given import words_of
from promptatlas.cli.options import POCKET, Device, Dtype, Json, LmName
from promptatlas.cli.print import Bar
from promptatlas.cli.unfinished import Request
from promptatlas.errors import SettingError, near

if TYPE_CHECKING:
    from promptatlas.auto.find import Found
    from promptatlas.data.task import Task

WAYS = ("cv", "mdl")
Templates = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        help='Such as "{text} It was {mask}."; the task\'s own where it has one. Further ones are tried as they are, '
        "and PET learns from all.",
        show_default=False,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help='Of the portfolio, such as "pattern tuning" (repeatable).', show_default=False),
]


def auto(
    task: Annotated[str, typer.Argument(metavar="TASK", help="An embedded name, a folder of *.jsonl, or one file.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder the prompt is saved in.", show_default=False)],
    lm: LmName = POCKET,
    template: Templates = None,
    words: WordLists = None,
    shots: Annotated[int, typer.Option(min=0, help="Labelled examples of each label; 0 is all there are.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the draw, the folds and the methods.")] = 0,
    select: Annotated[
        str, typer.Option(metavar="cv|mdl", help="How to choose, by the labelled examples alone.")
    ] = "cv",
    folds: Annotated[int, typer.Option(min=2, help="Of cv, or blocks of mdl.")] = 4,
    nested: Annotated[
        bool, typer.Option(help="Also measure what to expect, on folds that had no part in the choice.")
    ] = True,
    most: Annotated[int, typer.Option(min=1, help="Members of an ensemble at most; 1: no ensembles.")] = 2,
    budget: Annotated[
        float, typer.Option(metavar="OPERATIONS", help="What would take more than is left isn't tried.")
    ] = BUDGET,
    minutes: Annotated[
        float | None, typer.Option(help="After which it stops; the same command goes on.", show_default=False)
    ] = None,
    only: Only = None,
    device: Device = None,
    dtype: Dtype = "float32",
    as_json: Json = False,
) -> None:
    """Try a portfolio of methods on few labels, and keep the best one or two.

    Tried are the model as it is, examples shown, prompt tuning, pattern tuning, fine-tuning, LM-BFF and, where there
    are texts without labels, PET. They are compared by the labelled examples alone, each on folds it hasn't learned
    from. A page beside the saved prompt, DIR.md, says what was chosen, why, and how good it will be.
    """
    if select not in WAYS:
        raise SettingError(f"there is no selection `{select}` here", hint=near(select, WAYS))
    settings = {"templates": "\n".join(template or ()), "nested": str(nested), "most": str(most),
                "budget": f"{budget:g}", "only": "\n".join(only or ())}  # fmt: skip
    request = Request(
        method="auto", lm=lm, task=task, template=template[0] if template else None, words=words_of(words),
        shots=shots, seed=seed, settings=settings, paper=False, tries={}, select=select, folds=folds,
        device=device, dtype=dtype, folder=str(Path.cwd()),
    )  # fmt: skip
    with show.Bar() as bar:
        found, few, page = _work(request, out, template or (), only or (), nested, most, budget, minutes, bar)
    if as_json:
        from promptatlas.auto.report import to_json

        show.data(to_json(found, few) | {"out": str(out), "report": str(page)})
    else:
        show.text(page.read_text("utf-8"))
        show.note(f"saved in {out}; this page is {page}")


def _work(
    request: Request, out: Path, templates: Sequence[str], only: Sequence[str], nested: bool, most: int, budget: float,
    minutes: float | None, bar: Bar,
) -> "tuple[Found, Task, Path]":  # fmt: skip
    """Look at everything, search, save, and write the page."""
    from promptatlas.artifact.folder import check_ours, remove, settle
    from promptatlas.artifact.save import FILES, save
    from promptatlas.auto.find import find
    from promptatlas.auto.report import to_markdown
    from promptatlas.cli.options import model
    from promptatlas.cli.work import started, under_way
    from promptatlas.data.read import read_task
    from promptatlas.train.folds import Kind, Selection

    bar.step("reading")
    check_ours(settle(out), FILES)
    whole = read_task(request.here(request.task))
    named = request
    if request.words is None and whole.words is None and whole.kind == "label":
        named = replace(request, words={label: (label,) for label in whole.labels})
        show.note(f"`{whole.name}` has no label words: the labels' own names are taken")
    start = started(named, whole)
    few = whole.few(request.shots, request.seed, dev=0) if request.shots else whole
    kind = cast(Kind, request.select)
    how = Selection(kind=kind, folds=request.folds, nested=nested, tempered=True, seed=request.seed)
    lm = model(request.here(request.lm), request.device, request.dtype, bar)
    if unfinished.begin(request, unfinished.identity(few, lm), out):
        show.note(f"going on with what is in {unfinished.run_folder(out)}")
    with under_way(out, bar, "the same command goes on", minutes=minutes) as run:
        found = find(lm, few, start, how=how, patterns=templates[1:], only=only, most=most, budget=budget,
                     seed=request.seed, run=run)  # fmt: skip
    bar.step("saving")
    page = out.with_name(out.name + ".md")
    save(found.prompt, out)
    put(page, to_markdown(found, few))
    remove(unfinished.run_folder(out))
    return found, few, page
