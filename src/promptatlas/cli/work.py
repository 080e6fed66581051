"""The work of `promptatlas fit`: everything is looked at before anything is written. Imports torch."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event as Flag
from types import FrameType
from typing import Any, cast

import typer

from promptatlas import registry
from promptatlas.artifact.folder import check_ours, remove, settle
from promptatlas.artifact.save import FILES, save, size
from promptatlas.cli import print as show
from promptatlas.cli import unfinished
from promptatlas.cli.evaluate import MEASURED, measured
from promptatlas.cli.options import members, model
from promptatlas.cli.print import Bar
from promptatlas.cli.tries import variants
from promptatlas.cli.unfinished import Request
from promptatlas.data.read import read_task
from promptatlas.data.task import Task
from promptatlas.errors import NeedsError, PromptAtlasError, SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import check_fit, prompt, template_of
from promptatlas.train.candidate import Candidate
from promptatlas.train.folds import Kind, Selection
from promptatlas.train.needs import Method
from promptatlas.train.run import Cancelled, Run
from promptatlas.train.select import Selected, select

STOPPED = 130  # exit code of what was interrupted
WITHOUT_WORDS = {"choice": "brings its own choices", "tags": "has tags", "text": "has its answers written"}


def work(request: Request, out: Path, checkpoint: float, bar: Bar) -> dict[str, Any]:
    """Fit as asked, save, and say what was learned."""
    bar.step("reading")
    tried = variants(request)
    methods = [_method(one.request) for one in tried]
    check_ours(settle(out), FILES)
    task = read_task(request.here(request.task))
    candidates = [
        Candidate(name=one.name, prompt=started(one.request, task, worded=method.needs.words), methods=(method,))
        for one, method in zip(tried, methods, strict=True)
    ]
    task = task.few(request.shots, request.seed) if request.shots else task
    how = Selection(kind=cast(Kind, request.select), folds=request.folds, seed=request.seed)
    if len(candidates) > 1:
        how.check(len(task.train), len(task.dev))
    lm = model(request.here(request.lm), request.device, request.dtype, bar)
    if unfinished.begin(request, unfinished.identity(task, lm), out):
        show.note(f"going on with the fit in {unfinished.run_folder(out)}")
    bar.step(request.method)
    began = time.perf_counter()
    learned, choice = _fit(candidates, how, lm, task, out, checkpoint, bar)
    seconds = time.perf_counter() - began
    bar.step("saving")
    if out.exists():
        show.note(f"the prompt that was in {out} is replaced")
    save(learned, out)
    remove(unfinished.run_folder(out))
    figures = [one.history[-1].figures for one in members(learned) if one.history]
    dev = measured(learned, lm, task, task.dev, bar) if task.dev and task.kind in MEASURED else {}
    if choice.note:
        show.note(choice.note)
    return {
        "method": request.method,
        "task": task.name,
        "lm": request.lm,
        "out": str(out),
        "examples": len(task.train),
        "trained": sum(int(one.get("trained", 0)) for one in figures),
        "bytes": size(out),
        "seconds": round(seconds, 3),
        "dev": {task.metric: dev[task.metric].value} if dev else {},
        "dev_examples": len(task.dev) if dev else 0,
        **({"choice": choice.to_json()} if choice.scores else {}),
    }


def _method(request: Request) -> Method:
    settings = registry.settings_from(request.method, request.settings)
    return registry.seeded(request.method, request.seed, paper=request.paper, **settings)


def started(request: Request, task: Task, *, worded: bool = True) -> Prompt:
    """The prompt the method starts from; `worded`: labels must have words by now."""
    template = template_of(task) if request.template is None else request.template
    words = task.words if request.words is None else request.words
    if template is None:
        raise SettingError(
            f"`{task.name}` has no template of its own", hint='give one: --template "{text} It was {mask}."'
        )
    if words is None and task.kind == "label" and worded:
        given = " ".join(f"--words {label}=..." for label in task.labels)
        raise SettingError(f"`{task.name}` has no label words of its own", hint=f"give each label its words: {given}")
    if words is None and task.kind == "number":
        raise SettingError(
            f"`{task.name}` has no words of its own for the ends of its range",
            hint="give both: --words low=terrible --words high=great",
        )
    if request.words is not None and task.kind in WITHOUT_WORDS:
        raise SettingError(
            f"`{task.name}` {WITHOUT_WORDS[task.kind]}, and label words were given", hint="leave --words out"
        )
    if task.template is None and request.template is None:
        show.note(f"`{task.name}` has no template of its own, and gets `{template}`; another is given by --template")
    start = prompt(template, None if task.kind in WITHOUT_WORDS else words, view=task.view)
    check_fit(start, task, words=worded)
    return start


def _fit(
    candidates: Sequence[Candidate], how: Selection, lm: LM, task: Task, out: Path, checkpoint: float, bar: Bar
) -> Selected:
    """The prompt the method learns, and how it was chosen."""
    with under_way(out, bar, f"it goes on with: promptatlas fit --resume {out}", seconds=checkpoint) as run:
        try:
            return select(candidates, lm, task, how, run=run)
        except NeedsError as error:
            raise NeedsError(error.message, hint=_instead(lm, task, candidates[0].prompt) or error.hint) from error


def _instead(lm: LM, task: Task, start: Prompt) -> str:
    found = registry.fitting(lm, task, start)
    return f"with `{lm.name}` and this task these would do: {', '.join(f'`{one}`' for one in found)}" if found else ""


@contextmanager
def under_way(out: Path, bar: Bar, again: str, **given: Any) -> Iterator[Run]:
    """A run beside `out`: stopped, it says how it goes on; failed before it did anything, it leaves nothing.

    Args:
        out: what the run is to write.
        bar: shows how far it is.
        again: said where it is stopped.
        given: of the run.
    """
    folder = unfinished.run_folder(out)
    try:
        with interruptible() as flag:
            yield Run(folder=folder, listen=bar.listen, cancelled=flag.is_set, **given)
    except Cancelled as stop:
        show.note(f"{stop.message}; {again}")
        raise typer.Exit(STOPPED) from stop
    except PromptAtlasError:
        unfinished.forget(folder)
        raise


@contextmanager
def interruptible() -> Iterator[Flag]:
    """The first Ctrl-C asks the fit to keep what it has and stop; the second is as always."""
    flag = Flag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def ask(number: int, frame: FrameType | None) -> None:
        flag.set()
        signal.signal(number, before[signal.Signals(number)])
        show.note("stopping after this step; press Ctrl-C again to stop at once")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
