"""Operations, time and memory of the engine beside PEFT, OpenPrompt and lm-evaluation-harness.

    python -m benchmarks.speed peers [--cache DIR]                # the peers' environments, once
    python -m benchmarks.speed soft [--cache DIR] [--data DIR]    # one work, or several, or `all`

DIR of --cache is a folder outside the repository (a temporary one where none is given) for models with random weights,
made where they are missing, and for the peers; a figure whose peer isn't there is skipped, and says so. DIR of --data,
or the variable PROMPTATLAS_DATA, holds SST-2 and AG News, whose texts give lengths (a folder that holds these as `data`
will do too); without them the lengths kept here are taken, which are the same. Every figure is a line of JSON in the
results file, kept by all settings; what is there is not measured again unless --again is given. A Markdown table and a
picture of all that is there are written next to it; `table` writes them alone.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

import torch
from benchmarks.speed import peers
from benchmarks.speed.cells import FIGURES, Cell, Skipped, Store, write
from benchmarks.speed.picture import draw
from benchmarks.speed.setup import Setup
from benchmarks.speed.table import markdown
from benchmarks.speed.works import WORKS, Case, wanted
from rich.console import Console

from promptatlas.errors import PromptAtlasError

HERE = Path(__file__).parent
CACHE = Path(gettempdir()) / "promptatlas-speed"
OUT = HERE.parent / "results" / "speed.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, and write the page; the exit code."""
    given = _arguments(argv)
    torch.set_num_threads(1)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if given.works == ["peers"]:
        peers.make(given.cache, HERE.parents[1] / "constraints.txt")
        return 0
    store = Store.open(given.out, list(WORKS))
    setup = _setup(given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own
        for work in WORKS if "all" in given.works else given.works:
            for case in wanted(work, setup) if work in WORKS else ():
                _measure(work, case, setup, store, given)
    cells = store.ordered()
    if cells:
        draw(cells, given.out.with_suffix(".png"))
    write(given.out.with_suffix(".md"), markdown(cells))
    return 0


def _measure(work: str, case: Case, setup: Setup, store: Store, given: argparse.Namespace) -> None:
    """Every figure of a case that is missing, kept at once; one that can't be measured is named, and not kept."""
    errors = Console(stderr=True)
    how = case.how(setup)
    for figure in case.figures:
        key = (work, case.name, figure)
        if figure not in given.only or (store.has(key, how) and not given.again):
            continue
        try:
            values, beside = case.measure(case.given, setup, figure)
        except (PromptAtlasError, OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            # a peer raises what it likes; what else is asked for is measured all the same
            named = "" if isinstance(error, Skipped) else f"{type(error).__name__}: "
            errors.print(f"skipped: {work}: {case.name}: {figure}: {named}{error}", markup=False, soft_wrap=True)
            continue
        store.add(Cell(work, case.name, figure, values, how, beside))
        shown = ", ".join(f"{name} {values[name]:.4g}" for name in ("ours", "peer", "ratio") if name in values)
        errors.print(f"{work}: {case.name}: {figure}: {shown}", markup=False, highlight=False, soft_wrap=True)


def _setup(given: argparse.Namespace) -> Setup:
    folder = given.data or os.environ.get("PROMPTATLAS_DATA")
    data = Path(folder) if folder else None
    if data is not None and (data / "data").is_dir():
        data = data / "data"
    return Setup(
        cache=str(given.cache.resolve()), data="" if data is None else str(data.resolve()), batches=given.batches,
        pairs=given.pairs, questions=given.questions, timed=given.timed, shots=given.shots, most=given.most,
        tiny=given.tiny,
    )  # fmt: skip


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    usual = Setup("")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=(__doc__ or "").split("\n\n")[0].replace("\n", " ")
    )
    names = [*WORKS, "all", "table", "peers"]
    parser.add_argument("works", nargs="+", choices=names, metavar="WORK", help=", ".join(names))
    parser.add_argument("--cache", type=Path, default=CACHE, help="models and environments")
    parser.add_argument("--data", type=Path, help="folder of data sets; PROMPTATLAS_DATA where not given")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES), help="figures")
    parser.add_argument("--again", action="store_true", help="measure what is there too")
    parser.add_argument("--batches", type=int, default=usual.batches, help="batches of 16 whose operations are counted")
    parser.add_argument("--pairs", type=int, default=usual.pairs, help="interleaved runs that are timed")
    parser.add_argument("--questions", type=int, default=usual.questions, help="few-shot questions that are counted")
    parser.add_argument("--timed", type=int, default=usual.timed, help="few-shot questions of a run that is timed")
    parser.add_argument("--shots", type=int, default=usual.shots, help="demonstrations")
    parser.add_argument("--most", type=int, default=usual.most, help="the largest number on a growth curve")
    parser.add_argument("--tiny", action="store_true", help="tiny models, to try it out")
    parser.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args(argv)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PromptAtlasError as error:
        sys.exit(str(error))
