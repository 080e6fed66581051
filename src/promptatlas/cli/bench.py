"""`promptatlas bench`: measure a plan's cells, and show what they say."""

import os
from pathlib import Path
from typing import Annotated

import typer

from promptatlas.cli import print as show
from promptatlas.cli.files import put
from promptatlas.cli.options import Json
from promptatlas.errors import SettingError

DATA = "PROMPTATLAS_DATA"


def bench(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A TOML file; docs/bench.md shows one.")],
    data: Annotated[
        Path | None, typer.Option(help=f"The folder of the plan's tasks; {DATA} where not given.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where cells are kept, a line of JSON each; beside the plan where not given.", show_default=False
        ),
    ] = None,
    processes: Annotated[int, typer.Option(help="Cells measured side by side, each by one thread.")] = 1,
    minutes: Annotated[
        float | None, typer.Option(help="After which no further cell is begun.", show_default=False)
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Measure nothing; show what is there.")] = False,
    as_json: Json = False,
) -> None:
    """Compare methods as a plan says: every cell measured once, kept, and summed up in a table, a page and a picture.

    What was measured is not measured again: a run that was stopped goes on with the same command. Beside the cells
    are written a Markdown table, an HTML page and a picture.
    """
    if processes < 1:
        raise SettingError(f"`--processes` is {processes}", hint="give 1 or more")
    from promptatlas.bench.picture import draw
    from promptatlas.bench.plan import read_plan
    from promptatlas.bench.run import run
    from promptatlas.bench.summary import summary
    from promptatlas.train.run import Event

    told = os.environ.get(DATA)
    folder = data or (Path(told) if told else None)
    if folder is not None and not folder.is_dir():
        raise SettingError(f"there is no folder of tasks `{folder}`", hint=f"give --data, or set {DATA}")
    asked, kept = read_plan(plan), out or plan.with_suffix(".jsonl")
    with show.Bar() as bar:
        outcome = run(
            asked, kept, data=folder, processes=processes, minutes=0.0 if report else minutes,
            tell=lambda what, done, total: bar.listen(Event(what, done, total)),
        )  # fmt: skip
    for one, why in outcome.failed.items():
        show.note(f"not measured: {one.method} on {one.task}, {one.lm}, {one.shots} shots, seed {one.seed}: {why}")
    if not outcome.cells:
        raise SettingError("no cell of the plan was measured", hint="leave --report out, or give more --minutes")
    if outcome.missing:
        show.note(f"{outcome.missing:,} of {len(asked.cells):,} cells are missing; the same command goes on")
    found = summary(asked, outcome.cells)
    put(kept.with_suffix(".md"), found.to_markdown())
    put(kept.with_suffix(".html"), found.to_html())
    draw(outcome.cells, kept.with_suffix(".png"))
    if as_json:
        show.data(found.to_json())
    else:
        show.drawn(found)
